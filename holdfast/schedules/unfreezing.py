"""Gradual unfreezing: the topmost group first, then those below, epoch by epoch (ULMFiT, arXiv 1801.06146)."""

from pydantic import Field

from holdfast import choices

SHORTHAND = "groups"
BELOW = "what lies below the lowest layer that is ever unfrozen: frozen layers above it run at every step"


class Options(choices.Options):
    """`groups` more are unfrozen with every epoch; the head (with the pooler) is the first group."""

    groups: int = Field(1, ge=1)


def frozen(order: int, epoch: int, options: Options) -> bool:
    """Return whether the group at `order` from the top (0 = topmost that moves) is frozen in `epoch` (0-based)."""
    return order > epoch * options.groups
