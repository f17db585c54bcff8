"""A further attempt is anchored more firmly, by the rule, and nothing else of the recipe changes."""

from types import SimpleNamespace

import pytest

from holdfast import choices, spec
from holdfast.control import attempts
from holdfast.training.job import Given


def given(anchors: object) -> Given:
    recipe = spec.Recipe(
        examples={"gold": {}},
        objective={"sft": {}},
        anchors=choices.parse("anchors", anchors, "anchors"),
        schedule={"plain": {}},
        training=spec.Training(),
        head="mood",
    )
    nothing = SimpleNamespace()
    return Given(nothing, nothing, nothing, nothing, recipe, (), nothing)


def test_the_first_attempt_is_the_recipe() -> None:
    assert attempts.anchored(given(["l2sp"]), 1).recipe == given(["l2sp"]).recipe


@pytest.mark.parametrize(("attempt", "strengths"), [(2, {"l2sp": 2.0, "ewc": 40.0}), (3, {"l2sp": 8.0, "ewc": 160.0})])
def test_anchors_become_four_times_as_strong(attempt: int, strengths: dict[str, float]) -> None:
    first = given([{"l2sp": 0.5}, {"ewc": 10}])
    changed = attempts.anchored(first, attempt).recipe
    assert {name: values["strength"] for name, values in changed.anchors.items()} == strengths
    assert changed.anchors["ewc"]["normalise"] == "mean"
    assert changed.model_copy(update={"anchors": first.recipe.anchors}) == first.recipe


def test_without_anchors_the_answers_are_held() -> None:
    assert attempts.anchored(given([]), 2).recipe.anchors == choices.parse("anchors", ["kl"], "anchors")
    assert attempts.anchored(given([]), 3).recipe.anchors["kl"]["strength"] == 4.0
