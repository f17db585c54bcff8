"""Linear warm-up, then linear decay to zero."""

import math

from pydantic import Field

from holdfast import choices

SHORTHAND = "share"


class Options(choices.Options):
    """`share` of all updates during which the learning rate rises from zero."""

    share: float = Field(0.1, gt=0, lt=1)


def factor(step: int, total: int, options: Options) -> float:
    """Return step / w while step < w = ceil(share * total), then (total - step) / (total - w)."""
    rising = math.ceil(options.share * total)
    if step < rising:
        return step / rising
    return max(0.0, (total - step) / max(1, total - rising))
