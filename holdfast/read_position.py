"""Only what the head reads: the last layer of a classifier of BERT's family, computed for the first token alone.

The heads of that family read the last hidden state of the first token and no other. Queries, the output projection, the
feed-forward network and the norms of the last layer are therefore needed at that position only; its keys and values are
needed everywhere. What the head gives is the same but for the rounding of sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from holdfast import anatomy, forwards

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.models import Model

_TYPES = ("bert", "roberta", "xlm-roberta", "camembert", "electra")


@contextmanager
def first(model: Model) -> Iterator[None]:
    """Have the last layer give states of the first token only, [rows, 1, hidden], where nothing else is read.

    Nothing changes for other architectures, for decoders, and where something stands around the layer or its attention.
    """
    layer = _last(model)
    if layer is None:
        yield
        return

    def forward(hidden_states: Tensor, attention_mask: Tensor | None = None, *args: Any, **kwargs: Any) -> Tensor:
        return _of_the_first(layer, hidden_states, attention_mask)

    with forwards.instead([(layer, forward)]):
        yield


def _last(model: Model) -> Any:
    """Return the last layer, None where it must compute everything."""
    config = model.network.config
    if model.generates or config.model_type not in _TYPES or config.is_decoder or config.chunk_size_feed_forward:
        return None
    layer = model.network.get_submodule(anatomy.layers(model)[-1])
    own: Any = getattr(getattr(layer, "attention", None), "self", None)
    plain = hasattr(own, "query") and own.config._attn_implementation == "sdpa"
    return layer if plain else None


def _of_the_first(layer: Any, states: Tensor, mask: Tensor | None) -> Tensor:
    """Return what a layer gives at the first token; `mask` is [rows, 1, queries, keys] or None."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    own, here = layer.attention.self, states[:, :1]
    size, rows = own.attention_head_size, len(states)
    query, key, value = (
        made.view(rows, -1, own.num_attention_heads, size).transpose(1, 2)
        for made in (own.query(here), own.key(states), own.value(states))
    )
    dropout = own.dropout.p if own.training else 0.0
    seen = None if mask is None else mask[..., :1, :]
    attend = ALL_ATTENTION_FUNCTIONS["sdpa"]
    found, _ = attend(own, query, key, value, seen, dropout=dropout, scaling=own.scaling)
    given: Tensor = layer.feed_forward_chunk(layer.attention.output(found.reshape(rows, 1, -1), here))
    return given
