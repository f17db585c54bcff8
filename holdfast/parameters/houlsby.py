"""Small networks between the layers' parts move: bottleneck adapters (Houlsby et al. 2019, arXiv 1902.00751).

In every layer a bottleneck stands behind the attention's output matrix and one behind the feed-forward network's, each
before the residual connection: h + W_up s(W_down h). See `holdfast.tuners.bottleneck`. The paper trains the layer norms
too; here they stay (the norms' new values would need a second change). It cannot be merged into weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from holdfast import anatomy, choices
from holdfast.parameters import _targets
from holdfast.selection import Selection

if TYPE_CHECKING:
    from holdfast.importance.read import Importance
    from holdfast.models import Model

SHORTHAND = "size"
ADDS = "bottleneck networks"
BELOW = "nothing: there are adapters in every layer"


class Options(choices.Options):
    """`size` of the bottleneck, `activation` s, and `places`: behind `both` parts, or the feed-forward one alone."""

    size: int = Field(16, ge=1)
    activation: Literal["gelu", "relu"] = "gelu"
    places: Literal["both", "mlp"] = "both"


def select(model: Model, importance: Importance | None, options: Options) -> Selection:
    """Return the arguments of a `BottleneckConfig`; raise `BadInput` for an unknown architecture."""
    every = _targets.of_layers(model, "output", "mlp", choice="houlsby")
    per_layer = len(every) // len(anatomy.layers(model))
    modules = [m for i, m in enumerate(every) if i % per_layer in _kept(per_layer, options.places)]
    added = {
        "peft_type": "HOLDFAST_BOTTLENECK",
        "target_modules": modules,
        "size": options.size,
        "activation": options.activation,
    }
    return Selection(added=added, parts=tuple(f"bottleneck behind {module}" for module in modules))


def _kept(per_layer: int, places: str) -> tuple[int, ...]:
    """Return which of a layer's modules are kept: the first is the attention's output, the last the network's."""
    return (0, per_layer - 1) if places == "both" else (per_layer - 1,)
