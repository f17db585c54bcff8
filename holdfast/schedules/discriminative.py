"""Discriminative learning rates: each layer learns more slowly than the one above it (ULMFiT, arXiv 1801.06146)."""

from pydantic import Field

from holdfast import choices

SHORTHAND = "decay"


class Options(choices.Options):
    """`decay`: eta of a layer = eta of the layer above / decay."""

    decay: float = Field(2.6, ge=1)


def scale(depth: int, options: Options) -> float:
    """Return decay ** -depth: 1 for the head with the pooler, 1 / 2.6 for the topmost layer, least for embeddings."""
    return float(options.decay**-depth)
