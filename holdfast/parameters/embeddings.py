"""The embeddings move: word, position and type embeddings and their layer norm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast import anatomy, choices
from holdfast.selection import Selection

if TYPE_CHECKING:
    from holdfast.importance.read import Importance
    from holdfast.models import Model

BELOW = "nothing: the lowest part moves"


class Options(choices.Options):
    """No options."""


def select(model: Model, importance: Importance | None, options: Options) -> Selection:
    """Return a selection of the embedding tensors; raise `BadInput` for an unknown architecture."""
    return Selection(whole=frozenset(anatomy.embeddings(model)), parts=("embeddings",))
