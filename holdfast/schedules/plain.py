"""The usual schedule: the learning rate falls linearly to zero, or stays constant."""

from typing import Literal

from holdfast import choices

SHORTHAND = "decay"


class Options(choices.Options):
    """`decay`: `linear` (the default of transformers, without warm-up) or `constant`."""

    decay: Literal["linear", "constant"] = "linear"


def factor(step: int, total: int, options: Options) -> float:
    """Return (total - step) / total for `linear`, 1 for `constant`."""
    if options.decay == "constant":
        return 1.0
    return max(0.0, (total - step) / max(1, total))
