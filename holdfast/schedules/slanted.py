"""Slanted triangular learning rates (ULMFiT: Howard and Ruder 2018, arXiv 1801.06146)."""

import math

from pydantic import Field

from holdfast import choices

SHORTHAND = "share"


class Options(choices.Options):
    """`share` of the updates in which the rate rises (cut_frac); `ratio` of the largest to the smallest rate."""

    share: float = Field(0.1, gt=0, lt=1)
    ratio: float = Field(32.0, gt=1)


def factor(step: int, total: int, options: Options) -> float:
    """Return (1 + p (ratio - 1)) / ratio with p = t / cut before cut = floor(T share), then the falling side.

    p falls as 1 - (t - cut) / (cut (1 / share - 1)). Where T share is not whole, floor makes cut too small and the
    published p ends below zero (a negative rate for T = 19), and cut is 0 for T < 1 / share: p is kept at or above 0,
    and cut at or above 1 (inferred).
    """
    cut = max(1, math.floor(total * options.share))
    p = step / cut if step < cut else 1 - (step - cut) / (cut * (1 / options.share - 1))
    return (1 + max(0.0, p) * (options.ratio - 1)) / options.ratio
