"""The result of a run, put together from its stages' records: what `holdfast run --json` prints."""

import json
from typing import Any

from holdfast import lineage
from holdfast.control import trajectory
from holdfast.home import Home
from holdfast.records import (
    Evaluated,
    Prepared,
    Registered,
    Result,
    Selected,
    Shadow,
    StageTime,
    Tuned,
    Validated,
    Verdict,
)
from holdfast.registry import tracking
from holdfast.reports import words
from holdfast.spec import Pipeline


def assemble(
    home: Home,
    pipeline: Pipeline,
    prepared: Prepared,
    validated: Validated,
    selected: Selected,
    tuned: Tuned,
    evaluated: Evaluated,
    registered: Registered,
    verdict: Verdict,
    stages: tuple[StageTime, ...],
    shadow: Shadow | None = None,
    **_: Any,
) -> Result:
    """Return the run's result; `report` is where its page is to be written, below the home's reports."""
    traced = lineage.trace(pipeline, prepared, validated, selected, tuned, evaluated)
    if shadow is not None:
        traced.evaluation["shadow"] = shadow.model_dump(mode="json")
    page = home.reports / registered.name / f"version-{registered.version}" / "report.html"
    return Result(
        pipeline=pipeline.name,
        verdict=verdict.verdict,
        reason=verdict.reason,
        version=registered.version,
        run_id=registered.run_id,
        target=evaluated.target,
        remembered=evaluated.remembered,
        selection=selected.model_dump(mode="json", exclude={"artifact"}),
        stages=stages,
        lineage=traced,
        report=str(page),
        tracking=tracking.address(home),
        learned=_learned(tuned, home),
        controller=trajectory.read(tuned.trajectory, home)["said"] if tuned.trajectory else None,
        shadow=shadow,
    )


def _learned(tuned: Tuned, home: Home) -> str | None:
    """Return whose words were learned, where some are the model's own."""
    curve = json.loads((home.store.open(tuned.curve) / "curve.json").read_text(encoding="utf-8"))
    return words.own_words(curve["targets"]) if curve.get("targets") else None
