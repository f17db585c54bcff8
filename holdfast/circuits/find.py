"""Find the circuit of a task in a model, and judge it on other rows: `circuit.json` and `circuit.png`.

The task is measured on rows that the model answers right: some find the circuit, others judge it. That
CT-SFT takes such rows is inferred: what is known of it can be read in two ways.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast import digests, inference
from holdfast.circuits import discovery, examples, picture, reading, reference, relevance
from holdfast.circuits.faithfulness import Judge, sizes
from holdfast.decomposition import architectures
from holdfast.errors import BadInput
from holdfast.importance import sampling

if TYPE_CHECKING:
    from holdfast.circuits.discovery import Found, Head
    from holdfast.circuits.relevance import Relevance
    from holdfast.circuits.settings import Circuit
    from holdfast.models import Model
    from holdfast.rows import Row

JSON, PICTURE = "circuit.json", "circuit.png"
_FEWEST = 2  # rows of each label, on either side
_SPARE = 3  # so many times as many rows are tried as are wanted, because wrong answers fall out
_KEY = "assess.circuit"
Report = Callable[[float], None]


@dataclass(frozen=True)
class Task:
    """What a circuit is found for: its name for people, the dataset's, its rows; the model's head must be in place."""

    name: str
    dataset: str
    rows: list[Row]


def find(
    model: Model, task: Task, settings: Circuit, max_length: int, seed: int, report: Report = lambda share: None
) -> dict[str, Any]:
    """Return the circuit as `circuit.json` holds it.

    Heads are `LAYER.HEAD`. `scores` is every head's R(s), `ranking` every head from the circuit's first to the least
    relevant; `faithfulness` and `curve` are of the held-out rows. Raises `BadInput` when the model answers too few rows
    of a label right, its architecture has no rules, or its heads do not carry the task.
    """
    import torch

    bf16 = settings.precision == "bf16" or (settings.precision == "auto" and inference.has_bf16())
    read = reading.of(model, task.rows, max_length)
    finding, judging = _rows(read, task, settings, seed)
    with torch.no_grad(), inference.evaluating(model.network):
        parts = architectures.describe(model.network, read.columns, bf16=bf16)
        seen, unseen = (
            examples.chunks(model.network, parts, read.encode(rows), read.targets(rows), read.columns)
            for rows in (finding, judging)
        )
        means = reference.measure(parts, seen, settings.reference)
        scores = relevance.measure(
            parts, seen, means, settings.rules, settings.margin, lambda share: report(0.6 * share)
        )
        judge = Judge(parts, seen, means, settings.margin)
        _check_carried(judge, task)
        found = discovery.discover(scores, judge.faithfulness, settings)
        _check_found(found, task)
        report(0.8)
        judged = Judge(parts, unseen, means, settings.margin)
        _check_carried(judged, task)
        curve = _curve(found, scores, judged, settings.random, seed, report)
    return {
        **_described(task, settings, model.head, read, finding, judging),
        **_of(found, scores),
        "margins": {"whole": judged.whole, "nothing": judged.nothing},
        "curve": curve,
        **next(point for point in curve if point["size"] == len(found.heads)),
    }


def write(folder: Path, circuit: dict[str, Any]) -> None:
    """Write `circuit.json` (canonical) and `circuit.png` into `folder`."""
    (folder / JSON).write_text(digests.canonical_json(circuit), encoding="utf-8")
    (folder / PICTURE).write_bytes(picture.draw(circuit))


def _rows(read: reading.Texts, task: Task, settings: Circuit, seed: int) -> tuple[list[Row], list[Row]]:
    """Return label-balanced rows to find the circuit on and others to judge it by, answered right where asked for."""
    wanted = settings.examples + settings.held_out
    tried = sampling.balanced(read.rows, read.labels, _SPARE * wanted, seed, task.dataset)
    if settings.correct:
        tried = [row for row, right in zip(tried, read.right(tried), strict=True) if right]
    finding: list[Row] = []
    judging: list[Row] = []
    for label, name in zip(read.labels, read.names, strict=True):
        own = [row for row in tried if str(row["label"]) == label]
        if len(own) < 2 * _FEWEST:
            raise BadInput(
                f"the start model answers {len(own)} rows of `{name}` in {task.dataset} right: too few for a circuit",
                key=f"{_KEY}.correct",
                expected=f"at least {2 * _FEWEST} of each label",
                remedy="Teach it the task first, give more rows, or set assess.circuit.correct to false.",
            )
        first = max(_FEWEST, min(settings.examples // len(read.labels), len(own) // 2))
        finding += own[:first]
        judging += own[first : first + max(_FEWEST, settings.held_out // len(read.labels))]
    return finding, judging


def _check_carried(judge: Judge, task: Task) -> None:
    if not judge.defined:
        raise BadInput(
            f"no circuit of `{task.name}`: with every head at its mean the margin is {judge.nothing:.3g}, with all of "
            f"them {judge.whole:.3g}, so the heads do not carry the task",
            key="parameters.circuit",
            remedy="Start from a model that does the task, or choose `heads` or `layers`.",
        )


def _check_found(found: Found, task: Task) -> None:
    if not found.heads:
        raise BadInput(
            f"no circuit of `{task.name}`: the most relevant heads alone are no better than none",
            key="parameters.circuit",
            remedy="Raise assess.circuit.top or assess.circuit.examples, or choose `heads` or `layers`.",
        )


def _curve(
    found: Found, scores: Relevance, judge: Judge, controls: int, seed: int, report: Report
) -> list[dict[str, Any]]:
    ranked = discovery.ranking(found, scores)
    wanted = sizes(len(found.heads), len(ranked))
    points = []
    for done, size in enumerate(wanted, 1):
        points.append(asdict(judge.point(ranked[:size], controls, seed)))
        report(0.8 + 0.2 * done / len(wanted))
    return points


def _of(found: Found, scores: Relevance) -> dict[str, Any]:
    layers, heads = scores.answer.shape
    rounds = [
        {**asdict(one), **{key: _names(getattr(one, key)) for key in ("targets", "added", "pruned")}}
        for one in found.rounds
    ]
    return {
        "layers": layers,
        "heads_per_layer": heads,
        "heads": _names(found.heads),
        "ranking": _names(discovery.ranking(found, scores)),
        "scores": {f"{i}.{j}": float(scores.answer[i, j]) for i in range(layers) for j in range(heads)},
        "rounds": rounds,
    }


def _described(
    task: Task, settings: Circuit, head: str, read: reading.Texts, finding: list[Row], judging: list[Row]
) -> dict[str, Any]:
    return {
        "task": task.name,
        "head": head,
        "labels": read.names,
        "examples": len(finding),
        "held_out": len(judging),
        "rows": {"examples": digests.of_json(finding), "held_out": digests.of_json(judging)},
        "settings": settings.model_dump(mode="json"),
    }


def _names(heads: list[Head]) -> list[str]:
    return [f"{layer}.{head}" for layer, head in heads]
