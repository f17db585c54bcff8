"""The audit: does the champion, loaded and asked anew, still keep the contract with which it was promoted?

Its adapter is verified and its answers are computed, not looked up, so a damaged file, another base model or other
numbers of another machine or library are seen. They are compared, item by item, with what its start model was seen to
answer when the version was judged.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from holdfast import inference, models
from holdfast import rows as dataset_rows
from holdfast.decisions.records import Audit
from holdfast.errors import HoldfastError
from holdfast.forgetting import intervals, metrics
from holdfast.records import Artifact, RememberedScore
from holdfast.registry import versions

if TYPE_CHECKING:
    from holdfast.drift.champion import Champion
    from holdfast.home import Home
    from holdfast.models import Model


def audit(champion: Champion, home: Home) -> Audit:
    """Measure every remembered task of the champion again; what cannot be measured is said in `failed`."""
    try:
        evaluation = versions.show(champion.name, champion.version, home)["lineage"]["evaluation"]
        folder = home.store.open(Artifact(kind="evaluation", digest=evaluation["digest"]))
        model = models.load(champion.start, home)
        tasks = tuple(_again(task, champion, model, folder, home) for task in evaluation["remembered"])
    except HoldfastError as error:
        return Audit(failed=str(error))
    return Audit(tasks=tasks, broken=tuple(task.name for task in tasks if not task.kept))


def told(found: Audit) -> str:
    """Return in words what an audit found."""
    if found.failed is not None:
        return f"it could not be measured: {found.failed}"
    if not found.tasks:
        return "it has no remembered task"
    scores = [f"`{task.name}` {task.after:.4f} (n = {task.n})" for task in found.tasks]
    return f"{'NOT KEPT: ' + ', '.join(found.broken) if found.broken else 'kept'}; {', '.join(scores)}"


def _again(promise: dict[str, Any], champion: Champion, model: Model, folder: Path, home: Home) -> RememberedScore:
    """Return the score of one remembered task, its items right before as they were seen when the version was judged."""
    name = promise["name"]
    lines = (folder / f"remember.{quote(name, safe='')}.items.jsonl").read_text(encoding="utf-8").splitlines()
    seen = {item["id"]: bool(item["before_correct"]) for item in map(json.loads, lines)}
    found = dataset_rows.stored(home, champion.data[f"remember.{name}.test"])
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    model.use_head(next(task["head"] for task in summary["remembered"] if task["name"] == name))
    logits = inference.logits(
        model, dataset_rows.texts(found), max_length=champion.max_length, precision=champion.precision
    )  # fmt: skip
    answers = [model.labels[int(i)] for i in logits.argmax(-1)]
    after = np.array([answer == str(row["label"]) for answer, row in zip(answers, found, strict=True)])
    before = np.array([seen[str(row["id"])] for row in found])
    positive, negative = metrics.flips(before, after)
    bound = float(intervals.drop_upper(negative, positive, len(found), promise["confidence"]))
    scores: dict[str, Any] = {"before": float(before.mean()), "after": float(after.mean())}
    scores |= {"positive_flips": positive, "negative_flips": negative, "n": len(found)}
    scores |= {"drop": (negative - positive) / len(found), "bound": bound, "kept": bound < promise["margin"]}
    return RememberedScore.model_validate({**promise, **scores})
