"""What a tuned model does: a look at it on `valid`, and its scores on `test` item by item."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from holdfast import adapters, models
from holdfast.comparison.units import Outcome
from holdfast.forgetting.watch import Watch
from holdfast.generation.watch import AnswerWatch
from holdfast.records import Start

if TYPE_CHECKING:
    from holdfast.forgetting.watch import Look
    from holdfast.home import Home
    from holdfast.records import Artifact, Evaluated, Validated
    from holdfast.spec import Pipeline

_DIGITS = 6


def look(adapter: Artifact, start: Start, validated: Validated, pipeline: Pipeline, home: Home) -> Look:
    """Return how a tuned version does on all rows of `valid`, beside the start model."""
    heads = adapters.info(home.store.open(adapter))
    version = Start(model=start.model, base=start.base, adapter=adapter, heads=heads, task=start.task)
    model = models.load(version, home)
    if not model.generates:
        model.use_head(pipeline.learn.head)
    kind: type[Watch] | type[AnswerWatch] = AnswerWatch if model.generates else Watch
    return kind(model, start, validated, pipeline.recipe, pipeline.remember, home).look()


def outcomes(evaluated: Evaluated, home: Home) -> tuple[Outcome, tuple[Outcome, ...]]:
    """Return the target's items and those of every remembered task, read from the evaluation's artifact."""
    folder = home.store.open(evaluated.artifact)
    before, after = _scores(folder / "target.items.jsonl")
    target = Outcome(name="target", metric=evaluated.target.metric, before=before, after=after)
    old = []
    for task in evaluated.remembered:
        before, after = _scores(folder / f"remember.{quote(task.name, safe='')}.items.jsonl")
        judged: dict[str, Any] = {"margin": task.margin, "kept": task.kept}
        old.append(Outcome(name=task.name, metric=task.metric, before=before, after=after, **judged))
    return target, tuple(old)


def _scores(path: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    with path.open(encoding="utf-8", newline="\n") as lines:
        items = [json.loads(line) for line in lines]
    found = [tuple(_score(item, when) for item in items) for when in ("before", "after")]
    return found[0], found[1]


def _score(item: dict[str, Any], when: str) -> float:
    value = item[f"{when}_score"] if f"{when}_score" in item else item[f"{when}_correct"]
    return round(float(value), _DIGITS)
