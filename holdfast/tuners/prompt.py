"""HOLDFAST_PROMPT: prompt tuning (Lester et al. 2021, arXiv 2104.08691) as a PEFT method that works inside models.

`length` learned states stand before those of the text from the first layer to the last. In an encoder they are then
taken away: what reads the first token (a pooler) still reads the text's. PEFT's own prompt tuning puts them into the
input of the whole model, where a classifier's pooler would read the first of them. They enter behind the embeddings'
layer norm and have no position (inferred).

A decoder's prompt cannot see the text behind it. So its states go through each layer by themselves, and the keys and
values that they have there stand before the text's, as those of `holdfast.tuners.prefix` do: the text's positions stay,
the prompt's keys are not rotated (they act as at position 0), and nothing of it is in the cache of a generation.

Loads after `import holdfast.tuners.registered`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from peft.config import PeftConfig
from torch import nn
from torch.nn import functional

from holdfast.tuners import prefix, registration

NAME = "HOLDFAST_PROMPT"
PREFIX = "holdfast_prompt_"


@dataclass
class PromptConfig(PeftConfig):
    """`target_modules` are all layers' names, `first` and `last` two of them; states have `width` numbers.

    `attention` is the name of a decoder's attention inside a layer; without it states and text see each other.
    """

    target_modules: list[str] = field(default_factory=list)
    length: int = 8
    width: int = 1
    first: str = ""
    last: str = ""
    attention: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = registration.member(NAME)


@dataclass(frozen=True)
class _Place:
    """An adapter's prompt as one layer sees it."""

    length: int
    first: bool
    last: bool
    attention: str


class PromptLayer(registration.Layer):
    """A layer whose input has learned states [length, width] before the text's; the first layer puts them there.

    `running` holds, by adapter, what a decoder's states are between two layers; all layers of a model share it.
    """

    adapter_layer_names = (f"{PREFIX}states",)

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__(base_layer)
        self.holdfast_prompt_states = nn.ParameterDict()
        self.places: dict[str, _Place] = {}
        self.running: dict[str, torch.Tensor] = {}

    def make_room(self, adapter: str, config: PromptConfig, key: str) -> None:
        """Add the states to the first layer, all 0: whoever trains them gives them first values."""
        place = _Place(config.length, key == config.first, key == config.last, config.attention)
        self.places[adapter] = place
        if place.first:
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

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Run the layer on prompt and text."""
        adapter = self.adapter
        if adapter is None:
            return self.base_layer(hidden_states, *args, **kwargs)
        place = self.places[adapter]
        states = None
        if place.first:
            states = self.holdfast_prompt_states[adapter].to(hidden_states.dtype)
        if place.attention:
            return self._behind(adapter, states, hidden_states, *args, **kwargs)
        return self._together(place, states, hidden_states, *args, **kwargs)

    def _together(
        self,
        place: _Place,
        states: torch.Tensor | None,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Run an encoder's layer; masks [rows, 1, T, T] are widened so that all see the prompt."""
        if states is not None:
            hidden_states = torch.cat([states.expand(len(hidden_states), -1, -1), hidden_states], 1)
        found: torch.Tensor = self.base_layer(hidden_states, _widened(attention_mask, place.length), *args, **kwargs)
        return found[:, place.length :] if place.last else found

    def _behind(self, adapter: str, first: torch.Tensor | None, hidden_states: Any, *args: Any, **kwargs: Any) -> Any:
        """Run a decoder's layer on the prompt, and then on the text behind the prompt's keys and values."""
        attention = self.base_layer.get_submodule(self.places[adapter].attention)
        states = self.running[adapter] if first is None else first[None]
        told = {"position_embeddings": _unrotated(kwargs)} if "position_embeddings" in kwargs else {}
        with prefix.recording(attention) as seen:
            after = self.base_layer(states, **told)
        self.running[adapter] = after[0] if isinstance(after, tuple) else after
        with prefix.attending(attention, seen["key"][0], seen["value"][0]):
            return self.base_layer(hidden_states, *args, **kwargs)


class PromptModel(registration.Tuner):
    """The tuner."""

    prefix = PREFIX
    tuner_layer_cls = PromptLayer

    def _create_and_replace(
        self,
        peft_config: PromptConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        super()._create_and_replace(
            peft_config, adapter_name, target, target_name, parent, current_key, parameter_name
        )  # fmt: skip
        layer = parent.get_submodule(target_name)
        layer.running = self.__dict__.setdefault("running", layer.running)


def _unrotated(kwargs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cosines and sines of position 0, [1, 1, head_dim] each."""
    cosines, sines = kwargs["position_embeddings"]
    return torch.ones_like(cosines[:1, :1]), torch.zeros_like(sines[:1, :1])


def _widened(mask: torch.Tensor | None, length: int) -> torch.Tensor | None:
    """Return the mask with `length` more keys, seen by all, and as many more queries, which see what the last does."""
    if mask is None:
        return None
    wider = functional.pad(mask, (length, 0), value=True if mask.dtype == torch.bool else 0.0)
    if mask.shape[-2] == 1:
        return wider
    return torch.cat([wider[..., -1:, :].expand(*wider.shape[:-2], length, -1), wider], -2)


registration.register(NAME, PromptConfig, PromptModel, PREFIX)
