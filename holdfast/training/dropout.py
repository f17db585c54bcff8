"""Dropout with a generator of its own: what an update drops follows from the seed and the update's number alone.

Nothing else that draws, or does not (a cache, a look at `valid`), can change it, and a resume repeats it. On a
processor the draws are those of numpy's SFC64, 16 bits each, which are made several times faster than torch's, and
attention with dropout is computed in the precision of the forward pass. On an accelerator torch's own dropout stays.
Imports torch and transformers, so it is imported inside functions only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from holdfast import forwards

_STEPS = 1 << 16
_PURPOSE = 6


class Dropout:
    """The dropout of one network in training."""

    def __init__(self, network: Any, seed: int) -> None:
        self.seed = seed
        self.modules = [m for m in network.modules() if type(m) is nn.Dropout and m.p > 0]
        self._source: Any = None

    @contextmanager
    def drawing(self, step: int) -> Iterator[None]:
        """Have the network drop what the update `step` drops; draws go on from forward pass to forward pass."""
        self._source = np.random.SFC64(np.random.SeedSequence((self.seed, step, _PURPOSE)))
        ALL_ATTENTION_FUNCTIONS["sdpa"] = self._attend
        try:
            with forwards.instead([(module, self._of(module)) for module in self.modules]):
                yield
        finally:
            del ALL_ATTENTION_FUNCTIONS["sdpa"]

    def drop(self, values: Tensor, share: float) -> Tensor:
        """Return values with a share of them 0, and the rest larger, so that what is expected of each stays.

        The share is rounded to a multiple of 2^-16.
        """
        wanted = round(share * _STEPS)
        count = values.numel()
        drawn = self._source.random_raw(-(-count // 4)).view(np.int16)[:count]
        kept = torch.from_numpy(drawn).view(values.shape) >= wanted - _STEPS // 2
        return values * kept.to(values.dtype).mul_(_STEPS / (_STEPS - wanted))

    def _of(self, module: nn.Dropout) -> Any:
        def forward(values: Tensor) -> Tensor:
            return self.drop(values, module.p) if module.training else values

        return forward

    def _attend(
        self,
        module: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        dropout: float = 0.0,
        scaling: float | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, None]:
        """Return transformers' attention over [rows, heads, tokens, size]; with dropout, of its weights."""
        causal = attention_mask is None and query.shape[2] > 1 and getattr(module, "is_causal", False)
        if not dropout or causal or key.shape[1] != query.shape[1]:
            found: tuple[Tensor, None] = sdpa_attention_forward(
                module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
            )
            return found
        scores = torch.matmul(query * (scaling or query.shape[-1] ** -0.5), key.transpose(2, 3))
        if attention_mask is not None:
            scores = scores + _added(attention_mask, scores.dtype)
        weights = self.drop(scores.softmax(-1, dtype=torch.float32).to(value.dtype), dropout)
        return torch.matmul(weights, value).transpose(1, 2).contiguous(), None


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what is added to scores under a mask: a boolean one says what is seen."""
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape, dtype=dtype).masked_fill_(~mask, torch.finfo(dtype).min / 2)
