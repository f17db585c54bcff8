"""Stage 7: give the tuned model a version with its whole lineage."""

from typing import Any

from prefect import task

from holdfast.home import Home
from holdfast.records import Assessed, Evaluated, Prepared, Selected, Tuned, Validated
from holdfast.spec import Pipeline


@task(name="register", persist_result=False)
def register(
    pipeline: Pipeline,
    prepared: Prepared,
    validated: Validated,
    assessed: Assessed,
    selected: Selected,
    tuned: Tuned,
    evaluated: Evaluated,
    home: Home,
) -> dict[str, Any]:
    """Return `Registered`. Never cached, but idempotent: the same work gets the version it already has."""
    from holdfast.registry import register as registry

    version = registry.register(pipeline, prepared, validated, assessed, selected, tuned, evaluated, home)
    return version.model_dump(mode="json")
