"""HOLDFAST_PREFIX: prefix tuning (Li and Liang 2021, arXiv 2101.00190) as a PEFT method that works inside any encoder.

Every attention module sees `length` learned keys and values before its own, in each group of heads. PEFT's own prefix
tuning hands them over as a cache of past tokens, which shifts the positions of the real ones, and which the encoders of
transformers 5 do not read. Here positions stay, keys are not rotated (they act as at position 0), nothing of it is in
the cache of a generation, and the attention is transformers' own (sdpa). Loads after
`import holdfast.tuners.registered`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from peft.config import PeftConfig
from torch import nn
from torch.nn import functional
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from holdfast.tuners import registration

NAME = "HOLDFAST_PREFIX"
PREFIX = "holdfast_prefix_"
_INTERFACE, _RECORDER = "holdfast_prefix", "holdfast_recorder"


@dataclass
class PrefixConfig(PeftConfig):
    """`target_modules` are attention modules' names; `groups` of heads have keys and values of `head_dim` numbers."""

    target_modules: list[str] = field(default_factory=list)
    length: int = 8
    groups: int = 1
    head_dim: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = registration.member(NAME)


class PrefixLayer(registration.Layer):
    """An attention module with learned keys and values [groups, length, head_dim] before its own."""

    adapter_layer_names = (f"{PREFIX}key", f"{PREFIX}value")

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__(base_layer)
        self.holdfast_prefix_key = nn.ParameterDict()
        self.holdfast_prefix_value = nn.ParameterDict()

    def make_room(self, adapter: str, config: PrefixConfig, key: str) -> None:
        """Add keys and values, all 0: whoever trains them gives them first values."""
        like = next(self.base_layer.parameters())
        shape = (config.groups, config.length, config.head_dim)
        for held in (self.holdfast_prefix_key, self.holdfast_prefix_value):
            held[adapter] = nn.Parameter(torch.zeros(shape, dtype=like.dtype, device=like.device))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the module, with the active adapter's prefix in its attention."""
        adapter = self.adapter
        if adapter is None:
            return self.base_layer(*args, **kwargs)
        with attending(self.base_layer, self.holdfast_prefix_key[adapter], self.holdfast_prefix_value[adapter]):
            return self.base_layer(*args, **kwargs)


class PrefixModel(registration.Tuner):
    """The tuner."""

    prefix = PREFIX
    tuner_layer_cls = PrefixLayer


@contextmanager
def attending(module: Any, key: torch.Tensor, value: torch.Tensor) -> Iterator[None]:
    """Have an attention module see keys and values [groups, length, head_dim] before its own."""
    with _through(module, _INTERFACE, (key, value)):
        yield


@contextmanager
def recording(module: Any) -> Iterator[dict[str, torch.Tensor]]:
    """Have an attention module leave its keys and values [rows, groups, T, head_dim], as it attends to them."""
    seen: dict[str, torch.Tensor] = {}
    with _through(module, _RECORDER, seen):
        yield seen


@contextmanager
def _through(module: Any, interface: str, held: Any) -> Iterator[None]:
    """Have an attention module use another function: it looks its function up in its configuration."""
    config = module.config
    module.config = copy.copy(config)
    module.config._attn_implementation_internal = interface
    module.holdfast_prefix = held
    try:
        yield
    finally:
        module.config = config
        del module.holdfast_prefix


def record(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *args: Any, **kwargs: Any
) -> tuple[torch.Tensor, None]:
    """Return transformers' sdpa attention, and note its keys and values."""
    module.holdfast_prefix.update(key=key, value=value)
    found: tuple[torch.Tensor, None] = sdpa_attention_forward(module, query, key, value, *args, **kwargs)
    return found


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Return transformers' sdpa attention over the module's prefix and then `key` and `value` [rows, groups, T, d]."""
    first_key, first_value = module.holdfast_prefix
    mask = _widened(attention_mask, query, key, bool(getattr(module, "is_causal", False)), first_key.shape[1])
    keys, values = (
        torch.cat([first.to(own.dtype).expand(len(own), -1, -1, -1), own], 2)
        for first, own in ((first_key, key), (first_value, value))
    )
    found: tuple[torch.Tensor, None] = sdpa_attention_forward(
        module, query, keys, values, mask, **{**kwargs, "is_causal": False}
    )
    return found


def _widened(
    mask: torch.Tensor | None, query: torch.Tensor, key: torch.Tensor, causal: bool, length: int
) -> torch.Tensor | None:
    """Return the mask [.., queries, length + keys] with the prefix seen by all; None where all is seen."""
    queries, keys = query.shape[2], key.shape[2]
    if mask is None and causal and queries > 1:
        mask = torch.ones(queries, keys, dtype=torch.bool, device=query.device).tril(keys - queries)[None, None]
    if mask is None:
        return None
    return functional.pad(mask, (length, 0), value=True if mask.dtype == torch.bool else 0.0)


AttentionInterface.register(_INTERFACE, attend)
AttentionInterface.register(_RECORDER, record)
registration.register(NAME, PrefixConfig, PrefixModel, PREFIX)
