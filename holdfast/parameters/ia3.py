"""Scales of activations move: IA3 through PEFT (Liu et al. 2022, arXiv 2205.05638).

In every layer keys and values are multiplied by a learned vector each, l_k * (K x) and l_v * (V x), and so is what the
feed-forward network's last matrix reads. All start at 1. Merging multiplies the rows, or columns, of the weights.
GPT-2 makes queries, keys and values by one matrix, so that its queries are multiplied too, as by PEFT itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast import anatomy, choices
from holdfast.parameters import _targets
from holdfast.selection import Selection

if TYPE_CHECKING:
    from holdfast.importance.read import Importance
    from holdfast.models import Model

ADDS = "scales of activations"
BELOW = "nothing: every layer is scaled"


class Options(choices.Options):
    """No options."""


def select(model: Model, importance: Importance | None, options: Options) -> Selection:
    """Return the arguments of a `peft.IA3Config`; raise `BadInput` for an unknown architecture."""
    attention = _targets.of_layers(model, "key", "value", choice="ia3")
    last = _targets.of_layers(model, "mlp", choice="ia3")
    per_layer = len(last) // len(anatomy.layers(model))
    last = last[per_layer - 1 :: per_layer]
    added: dict[str, Any] = {"peft_type": "IA3", "target_modules": [*attention, *last], "feedforward_modules": last}
    added |= _targets.transposed(model, attention)
    return Selection(added=added, parts=tuple(f"ia3 {module}" for module in added["target_modules"]))
