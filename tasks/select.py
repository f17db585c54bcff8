"""Stage 4: decide what may move."""

from typing import Any

from holdfast.choices import Choices
from holdfast.home import Home
from holdfast.records import Assessed, Start
from tasks import caching


def _sees(parameters: dict[str, Any]) -> list[Any]:
    rest = [parameters[name] for name in ("parameters", "head", "labels", "seed")]
    return [parameters["assessed"].artifact, parameters["start"], *rest]


def _choices(parameters: dict[str, Any]) -> list[str]:
    return caching.modules("parameters", parameters["parameters"])


@caching.stage("holdfast.selection", _sees, _choices)
def select(
    assessed: Assessed, start: Start, parameters: Choices, head: str, labels: tuple[str, ...], seed: int, home: Home
) -> dict[str, Any]:
    """Return `Selected`: the plan of what moves, how many weights, what share, first names."""
    from holdfast import selection

    return selection.select(assessed, start, parameters, head, labels, seed, home).model_dump(mode="json")
