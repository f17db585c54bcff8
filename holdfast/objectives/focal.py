"""Focal loss: rows that the model has right already count less."""

from __future__ import annotations

from functools import partial

from pydantic import Field

from holdfast import choices
from holdfast.objectives import _qtarget

SHORTHAND = "exponent"
ROW = _qtarget.Row(
    loss="-(1 - p_y)^f log p_y",
    reliance="(1 - p_y)^f - f p_y (1 - p_y)^(f-1) log p_y (may exceed 1)",
    residual="the model",
    source="Lin et al. 2017, arXiv 1708.02002",
    trap="it follows wrong labels the more",
)


class Options(choices.Options):
    """`exponent` is f."""

    exponent: float = Field(2.0, ge=1)


def target(seen: _qtarget.Seen, options: Options) -> _qtarget.Target:
    """What the gradient of the focal loss puts on the label."""
    log_y, f = seen.of_label, options.exponent
    wrong = -log_y.expm1()
    return _qtarget.Target(reliance=wrong**f - f * log_y.exp() * wrong ** (f - 1) * log_y)


loss = partial(_qtarget.loss, target)
figures = partial(_qtarget.figures, target)
loss_of_label = partial(_qtarget.loss_of_label, target)
figures_of_label = partial(_qtarget.figures_of_label, target)
