"""Every layer norm moves: those of the embeddings, of each layer, and a final one where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast import anatomy, choices
from holdfast.errors import BadInput
from holdfast.selection import Selection

if TYPE_CHECKING:
    from holdfast.importance.read import Importance
    from holdfast.models import Model

BELOW = "nothing: the norms of every layer move"


class Options(choices.Options):
    """No options."""


def select(model: Model, importance: Importance | None, options: Options) -> Selection:
    """Return a selection of all layer norms' weights and biases; raise `BadInput` when the encoder has none."""
    names = anatomy.layer_norms(model)
    if not names:
        raise BadInput("the encoder has no layer norm", key="parameters.layernorm")
    norms = {name.rpartition(".")[0] for name in names}
    return Selection(whole=frozenset(names), parts=(f"all {len(norms)} layer norms",))
