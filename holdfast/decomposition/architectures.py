"""Which networks can be decomposed, and how each is made of `parts`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from holdfast import anatomy
from holdfast.decomposition import bert, gpt2, llama
from holdfast.decomposition.parts import Linear, in_bf16
from holdfast.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.decomposition.parts import Network

TYPES = (*bert.TYPES, *gpt2.TYPES, *llama.TYPES)


def describe(network: Any, columns: Sequence[int] | None = None, bf16: bool = False) -> Network:
    """Return the parts of a network of `transformers`: a sequence classifier or a causal language model.

    `columns` keeps only those logits, such as the tokens that stand for labels; `bf16` computes matrix products in
    bf16. Raises `BadInput` for an architecture that has no rules here.
    """
    kind = network.config.model_type
    if kind not in TYPES:
        raise BadInput(
            f"the architecture `{kind}` cannot be decomposed",
            key="parameters.circuit",
            expected=f"one of {', '.join(TYPES)}",
            remedy="`heads`, with the importance of the assessment, works for more.",
        )
    if kind in bert.TYPES:
        found = bert.describe(network, next(row for row in anatomy.FAMILIES if kind in row.types))
    else:
        found = (gpt2 if kind in gpt2.TYPES else llama).describe(network)
    if columns is not None:
        last = found.head[-1]
        assert isinstance(last, Linear)
        bias = None if last.bias is None else last.bias[list(columns)]
        found = replace(found, head=(*found.head[:-1], Linear(last.weight[list(columns)], bias)))
    return in_bf16(found) if bf16 else found
