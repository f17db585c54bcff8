"""Stage 5: tune what may move."""

from typing import Any

from holdfast import choices, progress
from holdfast.home import Home
from holdfast.records import Assessed, Selected, Start, Validated
from holdfast.spec import Recipe, Remember, Run
from tasks import caching

HERE = Run()


def _sees(parameters: dict[str, Any]) -> list[Any]:
    validated, recipe, remember = (parameters[name] for name in ("validated", "recipe", "remember"))
    data = [caching.datasets(validated.datasets, "train", "valid", "unlabelled"), validated.labels]
    importance = parameters["assessed"].artifact if recipe.reads_importance else None
    models = [parameters["start"], parameters["teacher"], choices.named_files(recipe.examples, recipe.metric)]
    return [parameters["selected"].artifact, importance, data, models, recipe, caching.promises(remember)]


def _choices(parameters: dict[str, Any]) -> list[str]:
    return caching.method(parameters["recipe"])


@caching.stage("holdfast.training.tune", _sees, _choices)
def tune(
    selected: Selected,
    assessed: Assessed,
    validated: Validated,
    start: Start,
    recipe: Recipe,
    remember: tuple[Remember, ...],
    home: Home,
    teacher: Start | None = None,
    run: Run = HERE,
) -> dict[str, Any]:
    """Return `Tuned`: the adapter and its loss curve. Where it is tuned (`run`) changes nothing and is in no key."""
    if run.workers != HERE.workers:
        return _elsewhere(selected, assessed, validated, start, recipe, remember, home, teacher, run)
    from holdfast.training import tune as training

    def report(step: int, total: int, figures: dict[str, float]) -> None:
        progress.report("tune", step, total, figures)

    tuned = training.tune(selected, assessed, validated, start, recipe, remember, home, report, teacher)
    return tuned.model_dump(mode="json")


def _elsewhere(
    selected: Selected,
    assessed: Assessed,
    validated: Validated,
    start: Start,
    recipe: Recipe,
    remember: tuple[Remember, ...],
    home: Home,
    teacher: Start | None,
    run: Run,
) -> dict[str, Any]:
    from holdfast.registry.handover import Job
    from tasks import elsewhere

    job = Job(
        selected=selected, assessed=assessed, validated=validated, start=start, recipe=recipe, remember=remember,
        teacher=teacher,
    )  # fmt: skip
    return elsewhere.tuned(job, run, home).model_dump(mode="json")
