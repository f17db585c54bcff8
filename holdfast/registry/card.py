"""The model card of a version: what it is, what it was made of, what it scored and lost, and where its limits are.

The text is `mlflow/model-card.md`, a Jinja2 template; every number in a card comes from the stages' records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from holdfast import bases
from holdfast.records import DatasetVersion, Evaluated, HeadInfo, RememberedScore
from holdfast.registry.work import Work
from holdfast.versioning import registry as datasets

TEMPLATE = Path(__file__).resolve().parents[2] / "mlflow" / "model-card.md"
_AXES = ("examples", "parameters", "objective", "anchors", "schedule")


def write(work: Work, heads: Mapping[str, HeadInfo], scored: Mapping[str, int]) -> str:
    """Return the card's Markdown; `scored` says how often the test set of each dataset key has been scored by now."""
    start, evaluated, head = work.prepared.start, work.evaluated, work.head
    known = bases.KNOWN.get(start.base.name)
    text: str = _template().render(
        name=work.name,
        summary=_summary(evaluated),
        task=work.pipeline.task,
        head=head,
        labels=heads[head].labels if heads else (),
        other_heads=[_described(name, heads[name]) for name in sorted(heads) if name != head],
        start=start,
        base_name=bases.portable_name(start.base),
        base_licence=known.licence if known else None,
        digest=work.tuned.adapter.digest,
        data=[_dataset(key, version) for key, version in work.prepared.datasets.items()],
        quarantined=work.validated.quarantined,
        method=work.lineage.method,
        axes=_axes(work),
        selection=work.selected,
        assessed=work.assessed,
        code=work.lineage.code,
        target=evaluated.target,
        remembered=evaluated.remembered,
        champion=evaluated.champion,
        scorings=[_scoring(key, work.validated.datasets[key], times) for key, times in scored.items()],
        limits=list(limits(evaluated, scored)),
    )
    return text


def _template() -> Any:
    loader = FileSystemLoader(TEMPLATE.parent)
    environment = Environment(
        loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"number": _number, "signed": _signed, "percent": _percent, "count": _count}
    return environment.get_template(TEMPLATE.name)


def _summary(evaluated: Evaluated) -> str:
    target, lost = evaluated.target, [task.name for task in evaluated.remembered if not task.kept]
    gained = f"Learned its target from {_number(target.before)} to {_number(target.after)} {target.metric}"
    if not evaluated.remembered:
        return f"{gained}; nothing was named to be remembered."
    if lost:
        return f"{gained}, and did not keep {', '.join(lost)}."
    return f"{gained}, and kept {', '.join(task.name for task in evaluated.remembered)}."


def _described(name: str, head: HeadInfo) -> str:
    return f"`{name}` ({', '.join(head.labels)})"


def _dataset(key: str, version: DatasetVersion) -> dict[str, Any]:
    known = datasets.load().get(version.ref)
    return {"role": key, **version.model_dump(), "licence": known.licence if known else "not registered: ask its owner"}


def _axes(work: Work) -> list[tuple[str, str]]:
    merge = work.prepared.merge
    if merge is None:
        return [(axis, _choices(getattr(work.pipeline, axis))) for axis in _AXES]
    merged = zip(merge.parents, merge.weights, strict=True)
    return [("merged", ", ".join(f"`{parent.model}` with weight {weight:g}" for parent, weight in merged))]


def _choices(chosen: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}`" for name in chosen) or "none"


def _scoring(key: str, version: DatasetVersion, times: int) -> dict[str, Any]:
    return {"role": key, "digest": version.digest, "times": times}


def limits(evaluated: Evaluated, scored: Mapping[str, int]) -> Iterator[str]:
    """Yield what the numbers themselves say that this version cannot do, or that was not established."""
    target = evaluated.target
    if target.lower <= 0:
        yield f"That it gained anything on the target is not established: the lower bound is {_signed(target.lower)}."
    width = target.interval[1] - target.interval[0]
    yield f"{target.n} target items tell the gain to within {_number(width)} (the interval's width), no closer."
    if target.after < 1:
        yield f"It is wrong on {_percent(1 - target.after)} of the target's test items."
    for task in evaluated.remembered:
        yield from _limits_of(task, evaluated.kl.get(task.name))
    for key, times in scored.items():
        if times > 1:
            yield f"The test set of {key} was scored {times} times; the best of several scorings flatters."


def _limits_of(task: RememberedScore, kl: float | None) -> Iterator[str]:
    if not task.kept:
        yield f"It may have lost up to {_number(task.bound)} on {task.name}; the margin is {_number(task.margin)}."
    elif task.negative_flips:
        yield f"{task.negative_flips} of {task.n} {task.name} items that the start model had right are wrong now."
    if kl is not None and kl > 0:
        yield f"Its probabilities on {task.name} moved by {kl:.3g} nats (KL from the start model, mean)."


def _number(value: float) -> str:
    return f"{value:.3f}"


def _signed(value: float) -> str:
    return f"{value:+.3f}"


def _percent(value: float) -> str:
    return f"{100 * value:.3g}%"


def _count(value: int) -> str:
    return f"{value:,}"
