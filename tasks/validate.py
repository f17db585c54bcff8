"""Stage 2: check the data and the start model's competence before anything is trained."""

from typing import Any

from holdfast.home import Home
from holdfast.records import DatasetVersion, Start
from holdfast.spec import Learn, Remember
from tasks import caching


def _sees(parameters: dict[str, Any]) -> list[Any]:
    learn: Learn = parameters["learn"]
    rules = [learn.expect, learn.reject_at_most, learn.head, parameters["max_length"], caching.answers(learn)]
    return [parameters["datasets"], parameters["start"], rules, caching.promises(parameters["remember"])]


@caching.stage("holdfast.validation.validate", _sees)
def validate(
    datasets: dict[str, DatasetVersion],
    start: Start,
    learn: Learn,
    remember: tuple[Remember, ...],
    max_length: int,
    home: Home,
) -> dict[str, Any]:
    """Return `Validated`, with quarantine, results and data docs as its artifact."""
    from holdfast.validation import validate as validation

    return validation.validate(datasets, start, learn, remember, max_length, home).model_dump(mode="json")
