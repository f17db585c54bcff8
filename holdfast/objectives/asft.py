"""ASFT: DFT, anchored to the start model by a forward KL divergence."""

from __future__ import annotations

from functools import partial

from pydantic import Field

from holdfast import choices
from holdfast.objectives import _qtarget

SHORTHAND = "strength"
NEEDS = ("teacher",)
ROW = _qtarget.Row(
    loss="-sg[p_y] log p_y + s KL(start, model)",
    reliance="p_y / (p_y + s)",
    residual="the start model",
    source="ASFT, arXiv 2509.23753",
    trap="what the model finds unlikely is held back twice, by DFT and by the anchor",
)


class Options(choices.Options):
    """`strength` is s."""

    strength: float = Field(0.1, gt=0)


def target(seen: _qtarget.Seen, options: Options) -> _qtarget.Target:
    """The label and the start model, in the proportion of the label's probability to s."""
    scale = seen.of_label.exp() + options.strength
    return _qtarget.Target(reliance=seen.of_label.exp() / scale, residual=seen.teacher.exp(), scale=scale)


loss = partial(_qtarget.loss, target)
figures = partial(_qtarget.figures, target)
