"""Losses between cross entropy (exponent near 0) and `p-loss` (exponent 1).

The default exponent is inferred.
"""

from __future__ import annotations

from functools import partial

from pydantic import Field

from holdfast import choices
from holdfast.objectives import _qtarget

SHORTHAND = "exponent"
ROW = _qtarget.Row(
    loss="(1 - p_y^a) / a",
    reliance="p_y^a",
    residual="the model",
    source="Beyond-log, arXiv 2510.00526",
    inferred="the default exponent",
    trap="a large exponent learns only what the model knows already",
)


class Options(choices.Options):
    """`exponent` is a."""

    exponent: float = Field(0.5, gt=0)


def target(seen: _qtarget.Seen, options: Options) -> _qtarget.Target:
    """The label as far as a power of its probability, and the model itself for the rest."""
    return _qtarget.Target(reliance=(options.exponent * seen.of_label).exp())


loss = partial(_qtarget.loss, target)
figures = partial(_qtarget.figures, target)
loss_of_label = partial(_qtarget.loss_of_label, target)
figures_of_label = partial(_qtarget.figures_of_label, target)
