"""Where a network can be cut: how many of its layers lie below everything that moves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from holdfast import anatomy
from holdfast.tuners import kinds

if TYPE_CHECKING:
    from holdfast.models import Model


def of(model: Model, moving: Iterable[str]) -> int:
    """Return the number of the lowest layer with a moving parameter (full names), at most that of the last layer.

    It is 0 where the embeddings move too, or where the architecture is not in `anatomy`'s table. The layer itself is
    not below the cut, and neither is what stands above all layers.
    """
    if not anatomy.known(model):
        return 0
    parts = {anatomy.part(model, kinds.bare(name)) for name in moving if name.startswith(model.encoder_prefix)}
    if "embeddings" in parts:
        return 0
    last = len(anatomy.layers(model)) - 1
    return min([int(part) for part in parts if part.isdigit()], default=last)


def lowest(model: Model, moving: Iterable[str]) -> str:
    """Return the name of a lowest moving tensor, for people."""

    def depth(name: str) -> int:
        part = anatomy.part(model, kinds.bare(name))
        return int(part) if part.isdigit() else {"embeddings": -1}.get(part, 1 << 30)

    return min((name for name in moving if name.startswith(model.encoder_prefix)), key=depth)
