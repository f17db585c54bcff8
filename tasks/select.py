"""Stage 4: decide what may move."""

from typing import Any

from holdfast.choices import Choices
from holdfast.home import Home
from holdfast.records import Assessed, Start, Validated
from holdfast.spec import Recipe, Remember
from tasks import caching


def _sees(parameters: dict[str, Any]) -> list[Any]:
    recipe, validated = parameters["recipe"], parameters["validated"]
    plain = [parameters["assessed"].artifact, parameters["start"], parameters["parameters"]]
    plain += [recipe.head, validated.labels, recipe.training.seed]
    if not _sees_data(parameters):
        return plain
    data = caching.datasets(validated.datasets, "train", "valid", "unlabelled")
    tuning = [recipe.model_dump(mode="json", exclude={"control"}), parameters["teacher"]]
    return [*plain, data, tuning, caching.promises(parameters["remember"])]


def _choices(parameters: dict[str, Any]) -> list[str]:
    chosen = caching.modules("parameters", parameters["parameters"])
    if not _sees_data(parameters):
        return chosen
    return [*chosen, "holdfast.auto.choose", *caching.method(parameters["recipe"])]


def _sees_data(parameters: dict[str, Any]) -> bool:
    from holdfast import selection

    return "auto" in parameters["parameters"] or bool(selection.learning(parameters["parameters"]))


@caching.stage("holdfast.selection", _sees, _choices)
def select(
    assessed: Assessed,
    validated: Validated,
    start: Start,
    parameters: Choices,
    recipe: Recipe,
    remember: tuple[Remember, ...],
    home: Home,
    teacher: Start | None = None,
) -> dict[str, Any]:
    """Return `Selected`: the plan of what moves, how many weights, what share, first names."""
    if "auto" in parameters:
        from holdfast.auto import choose

        chosen = choose.choose(assessed, validated, start, parameters, recipe, remember, home, teacher)
    else:
        from holdfast import selection
        from holdfast.training.job import Given

        head, labels, seed = recipe.head, validated.labels, recipe.training.seed
        given = Given(None, assessed, validated, start, recipe, remember, home, teacher)
        chosen = selection.select(assessed, start, parameters, head, labels, seed, home, given)
    return chosen.model_dump(mode="json")
