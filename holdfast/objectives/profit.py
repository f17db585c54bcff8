"""ProFiT: cross entropy on the rows whose label the model finds likely enough, nothing on the others.

The default threshold is inferred.
"""

from __future__ import annotations

from functools import partial

from pydantic import Field

from holdfast import choices
from holdfast.objectives import _qtarget

SHORTHAND = "threshold"
ROW = _qtarget.Row(
    loss="-1[sg p_y > tau] log p_y",
    reliance="1[p_y > tau]",
    residual="the model",
    source="ProFiT, arXiv 2601.09195",
    inferred="the default threshold",
    trap="a threshold above every p_y learns nothing: watch `reliance` in the curve",
)


class Options(choices.Options):
    """`threshold` is tau."""

    threshold: float = Field(0.1, ge=0, lt=1)


def target(seen: _qtarget.Seen, options: Options) -> _qtarget.Target:
    """The label where its probability is above the threshold."""
    return _qtarget.Target(reliance=(seen.of_label.exp() > options.threshold).to(seen.log_p.dtype))


loss = partial(_qtarget.loss, target)
figures = partial(_qtarget.figures, target)
loss_of_label = partial(_qtarget.loss_of_label, target)
figures_of_label = partial(_qtarget.figures_of_label, target)
