"""The last step leads back: weights between the start's and the tuned ones (WiSE-FT, Wortsman et al. 2022).

w = w0 + alpha (w - w0), the head too (arXiv 2109.01903; there between a zero-shot and a fine-tuned model). What is
added to an encoder is drawn back as the controller does it (`holdfast.control.weights`): LoRA's change B A becomes
alpha B A. The controller, which searches the same line for what keeps a contract, is off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from holdfast import choices

if TYPE_CHECKING:
    from holdfast.forgetting.watch import Look

SHORTHAND = "alpha"
Share = Annotated[float, Field(gt=0, lt=1)]


class Options(choices.Options):
    """`alpha` is the share of the way, or `valid`: of `grid` and 1, the share with the best mean accuracy on `valid`.

    The mean is over the target and every remembered task; equal ones by mean log-loss (inferred: the paper recommends
    0.5, and reports the best by each data set).
    """

    alpha: Share | Literal["valid"] = 0.5
    grid: tuple[Share, ...] = (0.25, 0.5, 0.75)


def share(look: Callable[[float], Look], options: Options) -> float:
    """Return the share of the way that is taken; `look(share)` says how the model does there on `valid`."""
    if options.alpha != "valid":
        return options.alpha
    return max((*sorted(options.grid), 1.0), key=lambda alpha: _merit(look(alpha)))


def _merit(look: Look) -> tuple[float, float]:
    tasks = [look.target, *look.remembered]
    return sum(task.after for task in tasks) / len(tasks), -sum(task.loss for task in tasks) / len(tasks)
