"""Stage 3: measure how much each part of the model matters, for the task and for general knowledge."""

from typing import Any

from holdfast.home import Home
from holdfast.records import Start, Validated
from holdfast.spec import Assess, Learn, Remember, Training
from tasks import caching


def _sees(parameters: dict[str, Any]) -> list[Any]:
    validated, training = parameters["validated"], parameters["training"]
    data = [caching.datasets(validated.datasets, "train"), validated.labels, parameters["learn"].head]
    settings = [parameters["settings"], parameters["elementwise"], training.seed, training.max_length]
    return [data, parameters["start"], caching.heads(parameters["remember"]), settings]


@caching.stage("holdfast.importance.assess", _sees)
def assess(
    validated: Validated,
    start: Start,
    settings: Assess,
    learn: Learn,
    remember: tuple[Remember, ...],
    training: Training,
    elementwise: bool,
    home: Home,
) -> dict[str, Any]:
    """Return `Assessed`, with the importances and their heat map as its artifact."""
    from holdfast.importance import assess as importance

    assessed = importance.assess(validated, start, settings, learn, remember, training, elementwise, home)
    return assessed.model_dump(mode="json")
