"""Attention: scores, softmax and the mix of values (CD-T eqs 9-14), rotations and keys shared by groups of heads.

The paper's beta of a head is what its relevant queries, keys and values would give alone; gamma is the rest. `frozen`,
of the authors' BERT helpers, keeps the attention of the whole and mixes beta's values by it. Rotations (RoPE) are
linear and so exact; shared keys and values are repeated over their query heads (inferred, as are norms of heads).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from holdfast.decomposition.linear import Pair
    from holdfast.decomposition.parts import Layer


FAR = -1e30  # as good as minus infinity, and padding that may look at padding alone stays a number


def split(qkv: torch.Tensor, layer: Layer) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return queries, keys and values [..., heads or groups, head_dim] of [..., width]."""
    q, k, v = (part.unflatten(-1, (-1, layer.head_dim)) for part in qkv.split(layer.widths, -1))
    return q, k, v


def rotated(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Return heads [..., heads, head_dim] rotated by their positions; cos and sin are [..., 1, head_dim]."""
    import torch

    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


def probabilities(q: torch.Tensor, k: torch.Tensor, layer: Layer, mask: torch.Tensor | None) -> torch.Tensor:
    """Return softmax(scale q.k) [..., heads, T, T'] of q [..., heads, T, d] and k [..., groups, T', d].

    `mask` is added to the scores: 0 where a position may look, `FAR` elsewhere.
    """
    scores = (q * layer.scale) @ repeated(k, layer).transpose(-1, -2)
    return (scores if mask is None else scores.add_(mask)).softmax(-1)


def repeated(x: torch.Tensor, layer: Layer) -> torch.Tensor:
    """Return keys or values [..., groups, T, d] repeated over the query heads of their group."""
    return x if layer.groups == layer.heads else x.repeat_interleave(layer.heads // layer.groups, -3)


def both(q: Pair, k: Pair, v: Pair, layer: Layer, mask: torch.Tensor | None, frozen: bool) -> Pair:
    """Return the pair of what the heads mix, [..., heads, T, d]."""
    values = tuple(repeated(part, layer) for part in v)
    model = probabilities(q[0] + q[1], k[0] + k[1], layer, mask)
    if frozen:
        return model @ values[0], model @ values[1]
    beta = probabilities(q[0], k[0], layer, mask) @ values[0]
    return beta, model @ (values[0] + values[1]) - beta


def relevant(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, layer: Layer, mask: torch.Tensor | None
) -> torch.Tensor:
    """Return beta of what the heads mix by the paper's rule: the whole takes no part in it."""
    return probabilities(q, k, layer, mask) @ repeated(v, layer)


def allowed(queries: torch.Tensor, keys: torch.Tensor, causal: bool, window: int | None) -> torch.Tensor | None:
    """Return what is added to scores [T, T'] between positions: 0 where a query may look, `FAR` elsewhere."""
    import torch

    if not causal:
        return None
    distance = queries.unsqueeze(-1) - keys
    hidden = distance < 0 if window is None else (distance < 0) | (distance >= window)
    return torch.zeros(hidden.shape, device=hidden.device).masked_fill_(hidden, FAR)
