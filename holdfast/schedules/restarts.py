"""Cosine annealing with hard restarts (Loshchilov and Hutter 2017, cycles of equal length)."""

import math

from pydantic import Field

from holdfast import choices

SHORTHAND = "cycles"


class Options(choices.Options):
    """`cycles` from the full rate down to zero; `warmup`, the share of all updates that rises linearly first."""

    cycles: int = Field(2, ge=1)
    warmup: float = Field(0.0, ge=0, lt=1)


def factor(step: int, total: int, options: Options) -> float:
    """Return (1 + cos(pi (cycles * q mod 1))) / 2, q the share of the updates after warm-up that are done."""
    rising = math.ceil(options.warmup * total)
    if step < rising:
        return step / rising
    done = (step - rising) / max(1, total - rising)
    return 0.0 if done >= 1 else 0.5 * (1 + math.cos(math.pi * ((options.cycles * done) % 1)))
