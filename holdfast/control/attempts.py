"""What a second tuning does otherwise, where the first left nothing that keeps every contract with a gain.

It is anchored more firmly, and all else stays: the anchors that there are become four times as strong; where there are
none, `kl` holds the model's answers near the start model's, on remembered texts where a remembered task has `train`
rows, else on the texts learned from. Every further attempt is four times as firm again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast import choices
from holdfast.anchors import kl

if TYPE_CHECKING:
    from holdfast.training.job import Given

FACTOR = 4.0


def anchored(given: Given, attempt: int) -> Given:
    """Return what attempt number `attempt` (the first is 1) tunes with."""
    anchors, firmer = given.recipe.anchors, attempt - 1
    if attempt > 1 and not anchors:
        anchors, firmer = {"kl": kl.Options().model_dump(mode="json")}, attempt - 2
    changed = {name: _firmer(name, values, FACTOR**firmer) for name, values in anchors.items()}
    return replace(given, recipe=given.recipe.model_copy(update={"anchors": changed}))


def _firmer(name: str, values: dict, factor: float) -> dict:
    strength = choices.options("anchors", name, values).strength
    return values if factor == 1 else {**values, "strength": strength * factor}
