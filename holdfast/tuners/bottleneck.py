"""HOLDFAST_BOTTLENECK: Houlsby's adapters (arXiv 1902.00751) as a PEFT method, which PEFT itself does not have.

Behind each targeted module a small network is added to its output h: h + W_up s(W_down h + b_down) + b_up. W_up and
b_up start at 0, so that the model starts as the base (the paper: near-identity). Loads after
`import holdfast.tuners.registered`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from peft.config import PeftConfig
from torch import nn
from torch.nn import functional

from holdfast import anatomy
from holdfast.tuners import registration

NAME = "HOLDFAST_BOTTLENECK"
PREFIX = "holdfast_bottleneck_"
_ACTIVATIONS: dict[str, Any] = {"gelu": functional.gelu, "relu": functional.relu}


@dataclass
class BottleneckConfig(PeftConfig):
    """`target_modules` are linear modules' names; `size` is the bottleneck's width."""

    target_modules: list[str] = field(default_factory=list)
    size: int = 16
    activation: str = "gelu"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = registration.member(NAME)


class BottleneckLayer(registration.Layer):
    """A linear module with a bottleneck network behind it."""

    adapter_layer_names = (f"{PREFIX}down", f"{PREFIX}up")

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__(base_layer)
        self.holdfast_bottleneck_down = nn.ModuleDict()
        self.holdfast_bottleneck_up = nn.ModuleDict()
        self.activations: dict[str, str] = {}

    def make_room(self, adapter: str, config: BottleneckConfig, key: str) -> None:
        """Add the two linear maps; the one up is 0."""
        width, (size, activation) = anatomy.linear_sizes(self.base_layer)[1], (config.size, config.activation)
        self.activations[adapter] = activation
        self.holdfast_bottleneck_down[adapter] = nn.Linear(width, size)
        self.holdfast_bottleneck_up[adapter] = nn.Linear(size, width)
        nn.init.zeros_(self.holdfast_bottleneck_up[adapter].weight)
        nn.init.zeros_(self.holdfast_bottleneck_up[adapter].bias)
        self._move_adapter_to_device_of_base_layer(adapter)

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the module's output, and what the active adapter adds to it."""
        output: torch.Tensor = self.base_layer(x, *args, **kwargs)
        adapter = self.adapter
        if adapter is None:
            return output
        inner = _ACTIVATIONS[self.activations[adapter]](self.holdfast_bottleneck_down[adapter](output))
        added: torch.Tensor = self.holdfast_bottleneck_up[adapter](inner)
        return output + added


class BottleneckModel(registration.Tuner):
    """The tuner."""

    prefix = PREFIX
    tuner_layer_cls = BottleneckLayer


registration.register(NAME, BottleneckConfig, BottleneckModel, PREFIX)
