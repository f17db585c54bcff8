"""Stage 1: find the datasets and the start model, and give each its version."""

from typing import Any

from prefect import task

from holdfast.home import Home
from holdfast.spec import Pipeline


@task(name="prepare", persist_result=False)
def prepare(pipeline: Pipeline, home: Home) -> dict[str, Any]:
    """Return `Prepared`. Always asks DVC, so it is never cached: unchanged data costs it next to nothing."""
    from holdfast.records import Prepared
    from holdfast.registry import start
    from holdfast.versioning import prepare as versioning

    datasets = versioning.prepare(pipeline.learn, pipeline.remember, pipeline.training.seed, home)
    found = Prepared(
        start=start.resolve(pipeline.start, home, pipeline.task),
        datasets=datasets,
        teacher=start.teacher(pipeline, home),
    )
    return found.model_dump(mode="json")
