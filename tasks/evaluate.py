"""Stage 6: measure what was learned and what was lost."""

from typing import Any

from holdfast.home import Home
from holdfast.records import Start, Tuned, Validated
from holdfast.spec import Learn, Remember, Training
from tasks import caching


def _sees(parameters: dict[str, Any]) -> list[Any]:
    validated, training = parameters["validated"], parameters["training"]
    contract = caching.promises(parameters["remember"])
    champion = parameters["champion"]
    versions = [parameters["tuned"].adapter, parameters["start"], champion, champion and champion.version]  # is told
    data = [caching.datasets(validated.datasets, "train", "test"), validated.labels, parameters["learn"].head]
    answers = caching.answers(parameters["learn"])
    return [versions, data, contract, training.max_length, training.precision, answers]


@caching.stage("holdfast.forgetting.evaluate", _sees)
def evaluate(
    tuned: Tuned,
    validated: Validated,
    start: Start,
    champion: Start | None,
    learn: Learn,
    remember: tuple[Remember, ...],
    training: Training,
    home: Home,
) -> dict[str, Any]:
    """Return `Evaluated`: paired scores with bounds, flips, drift in KL and CKA; items and pictures as its artifact."""
    from holdfast.forgetting import evaluate as forgetting

    scores = forgetting.evaluate(tuned, validated, start, champion, learn, remember, training, home)
    return scores.model_dump(mode="json")
