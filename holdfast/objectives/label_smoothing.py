"""Label smoothing: a part of the mass goes evenly to every label, the given one included."""

from __future__ import annotations

from functools import partial

from pydantic import Field

from holdfast import choices
from holdfast.objectives import _qtarget

SHORTHAND = "smoothing"
ROW = _qtarget.Row(
    loss="(1 - s) CE(label) + s mean CE",
    reliance="1 - s",
    residual="uniform",
    source="Szegedy et al. 2016, arXiv 1512.00567",
    trap="over a large vocabulary it pushes towards nonsense: keep s small",
)


class Options(choices.Options):
    """`smoothing` is s."""

    smoothing: float = Field(0.1, ge=0, lt=1)


def target(seen: _qtarget.Seen, options: Options) -> _qtarget.Target:
    """The label and the uniform distribution."""
    return _qtarget.Target(
        reliance=1 - options.smoothing,
        residual=seen.log_p.new_full(seen.log_p.shape, 1 / seen.log_p.shape[-1]),
    )


loss = partial(_qtarget.loss, target)
figures = partial(_qtarget.figures, target)
