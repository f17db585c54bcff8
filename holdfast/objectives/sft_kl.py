"""Cross entropy, and beside it the forward KL divergence from the start model on the same rows."""

from __future__ import annotations

from functools import partial

from pydantic import Field

from holdfast import choices
from holdfast.objectives import _qtarget

SHORTHAND = "strength"
NEEDS = ("teacher",)
ROW = _qtarget.Row(
    loss="-log p_y + s KL(start, model)",
    reliance="1 / (1 + s)",
    residual="the start model",
    source="the SFT-KL baseline of PSFT, arXiv 2508.17784",
    trap="the gradient is 1 + s times larger than that of the mixture",
)


class Options(choices.Options):
    """`strength` is s."""

    strength: float = Field(0.5, gt=0)


def target(seen: _qtarget.Seen, options: Options) -> _qtarget.Target:
    """The label and the start model, in the proportion 1 to s."""
    scale = 1 + options.strength
    return _qtarget.Target(
        reliance=1 / scale,
        residual=seen.teacher.exp(),
        scale=scale,
    )


loss = partial(_qtarget.loss, target)
figures = partial(_qtarget.figures, target)
