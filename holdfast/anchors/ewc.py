"""Elastic weight consolidation (Kirkpatrick et al. 2017): important weights are held tighter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from holdfast import choices
from holdfast.anchors import _quadratic

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.anchors._origin import Anchor, Origin

SHORTHAND = "strength"


class Options(choices.Options):
    """`strength` is lambda.

    With `normalise: mean` F is divided by its mean over the weights that move (of a partly moving tensor, those of its
    entries): a strength means the same for every model, and compares with one of `l2sp`. That is ours, a departure from
    the paper. With `none` F is the Fisher information averaged over remembered examples, as assessed: to second order,
    and on the diagonal, the penalty is strength times the mean KL divergence from the start model on remembered data.
    Its numbers are tiny (on average 3e-6 for MiniLM tuned to English sentiment, where strengths below 1e4 did nothing).
    """

    strength: float = Field(1.0, gt=0)
    normalise: Literal["none", "mean"] = "mean"


def hold(origin: Origin, options: Options) -> Anchor:
    """Return strength / 2 * sum_i F_i (w_i - w0_i)^2 over the moving encoder weights, F the general importance."""
    anchor = _quadratic.Quadratic(origin, options.strength, origin.importance())
    if options.normalise == "mean":
        anchor.strength /= _mean(anchor.curvature or {}, origin.masks) or 1.0
    return anchor


def _mean(curvature: dict[str, Tensor], masks: dict[str, Tensor]) -> float:
    """Return the mean over all numbers of all tensors, of masked ones where the mask is True."""
    moving = [tensor[masks[name].to(tensor.device)] if name in masks else tensor for name, tensor in curvature.items()]
    total = sum(float(tensor.double().sum()) for tensor in moving)
    return total / sum(int(tensor.numel()) for tensor in moving)
