"""HOLDFAST_PROMPT: prompt tuning (Lester et al. 2021, arXiv 2104.08691) as a PEFT method that works inside encoders.

`length` learned states stand before those of the text from the first layer to the last, and are then taken away: what
reads the first token (a pooler) still reads the text's. PEFT's own prompt tuning puts them into the input of the whole
model, where a classifier's pooler would read the first of them. They enter behind the embeddings' layer norm and have
no position. Loads after `import holdfast.tuners.registered`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from peft.config import PeftConfig
from torch import nn
from torch.nn import functional

from holdfast.tuners import registration

NAME = "HOLDFAST_PROMPT"
PREFIX = "holdfast_prompt_"


@dataclass
class PromptConfig(PeftConfig):
    """`target_modules` are all layers' names, `first` and `last` two of them; states have `width` numbers."""

    target_modules: list[str] = field(default_factory=list)
    length: int = 8
    width: int = 1
    first: str = ""
    last: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = registration.member(NAME)


class PromptLayer(registration.Layer):
    """A layer whose input has learned states [length, width] before the text's; the first layer puts them there."""

    adapter_layer_names = (f"{PREFIX}states",)

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__(base_layer)
        self.holdfast_prompt_states = nn.ParameterDict()
        self.places: dict[str, tuple[int, bool, bool]] = {}

    def make_room(self, adapter: str, config: PromptConfig, key: str) -> None:
        """Add the states to the first layer, all 0: whoever trains them gives them first values."""
        first = key == config.first
        self.places[adapter] = (config.length, first, key == config.last)
        if first:
            like = next(self.base_layer.parameters())
            states = torch.zeros((config.length, config.width), dtype=like.dtype, device=like.device)
            self.holdfast_prompt_states[adapter] = nn.Parameter(states)

    @property
    def adapter(self) -> str | None:
        """The active adapter, None where adapters are disabled; raises `ValueError` where several are active."""
        active = [] if self.disable_adapters else [name for name in self.active_adapters if name in self.places]
        if len(active) > 1:
            raise ValueError(f"{NAME}: one adapter at a time can be active, not {', '.join(active)}")
        return active[0] if active else None

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Run the layer on prompt and text; masks [rows, 1, T, T] are widened so that all see the prompt."""
        adapter = self.adapter
        if adapter is None:
            plain: torch.Tensor = self.base_layer(hidden_states, attention_mask, *args, **kwargs)
            return plain
        length, first, last = self.places[adapter]
        if first:
            states = self.holdfast_prompt_states[adapter].to(hidden_states.dtype)
            hidden_states = torch.cat([states.expand(len(hidden_states), -1, -1), hidden_states], 1)
        found: torch.Tensor = self.base_layer(hidden_states, _widened(attention_mask, length), *args, **kwargs)
        return found[:, length:] if last else found


class PromptModel(registration.Tuner):
    """The tuner."""

    prefix = PREFIX
    tuner_layer_cls = PromptLayer


def _widened(mask: torch.Tensor | None, length: int) -> torch.Tensor | None:
    """Return the mask with `length` more keys, seen by all, and as many more queries, which see what the last does."""
    if mask is None:
        return None
    wider = functional.pad(mask, (length, 0), value=True if mask.dtype == torch.bool else 0.0)
    if mask.shape[-2] == 1:
        return wider
    return torch.cat([wider[..., -1:, :].expand(*wider.shape[:-2], length, -1), wider], -2)


registration.register(NAME, PromptConfig, PromptModel, PREFIX)
