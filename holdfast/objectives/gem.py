"""GEM: cross entropy less the cross entropy to a sharpened copy of the model, which keeps answers diverse.

The default temperature is inferred.
"""

from __future__ import annotations

from functools import partial

from pydantic import Field

from holdfast import choices
from holdfast.objectives import _qtarget

SHORTHAND = "temperature"
ROW = _qtarget.Row(
    loss="CE(label) - CE(q), q ~ sg[p]^(1/b)",
    reliance="1",
    residual="the model less q",
    source="GEM, arXiv 2408.16673",
    inferred="the default b",
    trap="where q is the label the gradient vanishes: what is learned is not made surer",
)


class Options(choices.Options):
    """`temperature` is b."""

    temperature: float = Field(0.7, gt=0, lt=1)


def target(seen: _qtarget.Seen, options: Options) -> _qtarget.Target:
    """The label, with the sharpened copy's mass taken off the model's own."""
    return _qtarget.Target(
        reliance=1.0,
        residual=(seen.log_p / options.temperature).softmax(-1),
        weight=-1.0,
    )


loss = partial(_qtarget.loss, target)
figures = partial(_qtarget.figures, target)
