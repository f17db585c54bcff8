"""Only what the head reads: the last layer of a classifier of BERT's family, computed for the first token alone.

The heads of that family read the last hidden state of the first token and no other. Queries, the output projection, the
feed-forward network and the norms of the last layer are therefore needed at that position only; its keys and values are
needed everywhere. What the head gives is the same but for the rounding of sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from holdfast import forwards

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.models import Model
    from holdfast.unpadded import Tokens


@contextmanager
def first(model: Model, tokens: Tokens | None = None) -> Iterator[None]:
    """Have the last layer give states of the first token only, [rows, 1, hidden], where nothing else is read.

    Nothing changes for other architectures, for decoders, and where something stands around the layer or its attention.
    With `tokens` what comes to the last layer has no padding.
    """
    from holdfast import unpadded

    layer = next(iter(unpadded.layers(model)[-1:]), None)
    if layer is None or not unpadded.plain(layer):
        yield
        return

    def forward(hidden_states: Tensor, attention_mask: Tensor | None = None, *args: Any, **kwargs: Any) -> Tensor:
        return _of_the_first(layer, hidden_states, attention_mask, tokens)

    with forwards.instead([(layer, forward)]):
        yield


def _of_the_first(layer: Any, states: Tensor, mask: Tensor | None, tokens: Tokens | None) -> Tensor:
    """Return what a layer gives at the first token; `mask` is [rows, 1, queries, keys] or None."""
    from holdfast import unpadded

    own, here = layer.attention.self, states[:, :1] if tokens is None else tokens.firsts(states)
    key, value = own.key(states), own.value(states)
    if tokens is not None:
        key, value = tokens.put(key), tokens.put(value)
    found = unpadded.attend(own, own.query(here), key, value, None if mask is None else mask[..., :1, :])
    given: Tensor = layer.feed_forward_chunk(layer.attention.output(found, here))
    return given
