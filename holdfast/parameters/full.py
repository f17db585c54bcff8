"""Everything moves: full fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast import choices
from holdfast.selection import Selection

if TYPE_CHECKING:
    from holdfast.importance.read import Importance
    from holdfast.models import Model

BELOW = "nothing: every layer moves"


class Options(choices.Options):
    """No options."""


def select(model: Model, importance: Importance | None, options: Options) -> Selection:
    """Return a selection of every weight of the encoder."""
    return Selection(whole=frozenset(model.encoder_parameters()), parts=("everything",))
