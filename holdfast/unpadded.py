"""Rows of a classifier of BERT's family without their padding: between attentions a batch is its tokens, end to end.

Linear maps, norms, activations and dropout see one token at a time, so they need no padding; attention does, and gets
rows padded as they were. What the network gives is the same but for the rounding of sums. Imports torch, so it is
imported inside functions only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from holdfast import anatomy, forwards
from holdfast.prefix import plan

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.models import Model

MULTIPLE = 8
# A processor prepares matrix products in bf16 anew for every size, which takes longer than a closer fit would spare.
COARSE = 128
TYPES = ("bert", "roberta", "xlm-roberta", "camembert", "electra")


@dataclass(frozen=True)
class Tokens:
    """Where the `count` tokens of padded rows [rows, width] are, row after row, among `places` of which some are empty.

    `source` has the padded place of each, int64 [places] (0 for the empty ones), `target` the other way round, int64
    [rows * width] (0 for padding), `first` where each row's first token is, int64 [rows].
    """

    source: Tensor
    target: Tensor
    first: Tensor
    count: int
    rows: int
    width: int

    @property
    def places(self) -> int:
        """How many places go through the network."""
        return len(self.source)

    def take(self, padded: Tensor) -> Tensor:
        """Return values [rows, width, size] without padding, [1, places, size]."""
        found: Tensor = _Take.apply(padded.flatten(0, 1), self)
        return found[None]

    def put(self, values: Tensor) -> Tensor:
        """Return values [1, places, size] as padded rows; what stands in padding is some token's, to be masked."""
        found: Tensor = _Put.apply(values[0], self)
        return found.unflatten(0, (self.rows, self.width))

    def firsts(self, values: Tensor) -> Tensor:
        """Return what values [1, places, size] say of each row's first token, [rows, 1, size]."""
        return values[0].index_select(0, self.first)[:, None]


class _Take(torch.autograd.Function):
    """Values of places from those of padded rows; what is learned of padding is nothing."""

    @staticmethod
    def forward(context: Any, padded: Tensor, tokens: Tokens) -> Tensor:
        context.tokens = tokens
        return padded.index_select(0, tokens.source)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        tokens = context.tokens
        whole = gradient.new_zeros((len(tokens.target), gradient.shape[1]))
        return whole.index_copy_(0, tokens.source[: tokens.count], gradient[: tokens.count]), None


class _Put(torch.autograd.Function):
    """Values of padded rows from those of places; what is learned of padding, which nobody reads, is left out."""

    @staticmethod
    def forward(context: Any, values: Tensor, tokens: Tokens) -> Tensor:
        context.tokens = tokens
        return values.index_select(0, tokens.target)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        found = gradient.index_select(0, context.tokens.source)
        found[context.tokens.count :] = 0
        return found, None


def of(model: Model, mask: Tensor, lowest: int = 0, precision: str = "fp32") -> Tokens | None:
    """Return the tokens of rows with an attention mask [rows, width] for the layers from `lowest` on.

    Tokens are filled up to a multiple of `MULTIPLE`, or of `COARSE` where `precision` comes to bf16 on a processor.
    None where padding must stay: in other architectures, where something stands around a layer or its attention, where
    a row does not begin with a token, and where nothing would be spared.
    """
    lengths, own = mask.sum(1), layers(model)[lowest:]
    count, (rows, width) = int(lengths.sum()), mask.shape
    multiple = COARSE if mask.device.type == "cpu" and plan.computes_bf16(precision) else MULTIPLE
    places = -(-count // multiple) * multiple
    if places >= rows * width or not bool(mask[:, 0].all()) or not own or not all(map(plain, own)):
        return None
    source, target = mask.new_zeros(places), mask.new_zeros(rows * width)
    source[:count] = mask.flatten().nonzero().squeeze(1)
    target[source[:count]] = torch.arange(count, device=mask.device)
    return Tokens(source, target, lengths.cumsum(0) - lengths, count, rows, width)


def layers(model: Model) -> list[Any]:
    """Return the layers of an encoder of BERT's family that computes nothing else; empty for any other network."""
    config = model.network.config
    if model.generates or config.model_type not in TYPES or config.is_decoder or config.chunk_size_feed_forward:
        return []
    return [model.network.get_submodule(name) for name in anatomy.layers(model)]


def plain(layer: Any) -> bool:
    """Say whether a layer's attention is transformers' own, with nothing around it."""
    own: Any = getattr(getattr(layer, "attention", None), "self", None)
    return hasattr(own, "query") and own.config._attn_implementation == "sdpa"


@contextmanager
def through(model: Model, tokens: Tokens | None, lowest: int = 0) -> Iterator[None]:
    """Have the layers from `lowest` on compute tokens without padding; `holdfast.read_position` sees to the last."""
    if tokens is None:
        yield
        return
    own = layers(model)[lowest:]
    attending = [(layer.attention.self, _attending(layer.attention.self, tokens)) for layer in own[:-1]]
    with forwards.instead([(own[0], _entered(own[0], tokens)), *attending]):
        yield


def _entered(layer: Any, tokens: Tokens) -> Any:
    given = layer.forward

    def forward(hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        return given(tokens.take(hidden_states), *args, **kwargs)

    return forward


def _attending(own: Any, tokens: Tokens) -> Any:
    def forward(hidden_states: Tensor, attention_mask: Tensor | None = None, **kwargs: Any) -> tuple[Tensor, None]:
        query, key, value = (tokens.put(made(hidden_states)) for made in (own.query, own.key, own.value))
        return tokens.take(attend(own, query, key, value, attention_mask)), None

    return forward


def attend(own: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Return what an attention module of BERT's gives for queries [rows, queries, size], padded keys and values.

    `mask` is [rows, 1, queries, keys] or None.
    """
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    apart = [one.unflatten(-1, (own.num_attention_heads, -1)).transpose(1, 2) for one in (query, key, value)]
    dropout = own.dropout.p if own.training else 0.0
    found, _ = ALL_ATTENTION_FUNCTIONS["sdpa"](own, *apart, mask, dropout=dropout, scaling=own.scaling)
    return found.flatten(2)  # type: ignore[no-any-return]
