"""The decomposition as it is defined: the pair through every layer, for one source, on padded rows. Slow.

What `relevant` computes is held to this, here as the pair it is: beta + gamma must give the network's own logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.decomposition import activation, attention, linear, norm
from holdfast.decomposition.packed import observe
from holdfast.decomposition.parts import Linear

if TYPE_CHECKING:
    import torch

    from holdfast.decomposition.linear import Pair
    from holdfast.decomposition.parts import Layer, Network
    from holdfast.decomposition.settings import Rules


@dataclass(frozen=True)
class Padded:
    """Padded rows: what enters the first layer [B, T, width], the attention mask, and the network's logits."""

    embedded: torch.Tensor
    mask: torch.Tensor
    logits: torch.Tensor


@dataclass(frozen=True)
class Source:
    """A head, and the reference [B, T, d] (or what broadcasts to it) that its gamma is set to."""

    layer: int
    head: int
    reference: torch.Tensor


@dataclass(frozen=True)
class Outcome:
    """The pair of the logits, [B, C], and of what every layer's heads mix, [B, heads, T, d]."""

    logits: Pair
    mixed: list[Pair]


def observe_padded(network: Any, parts: Network, inputs: dict[str, torch.Tensor]) -> Padded:
    """Return padded inputs (padded on the right) as the first layer gets them."""
    embedded, logits = observe(network, parts, inputs)
    return Padded(embedded, inputs["attention_mask"], logits)


def propagate(parts: Network, rows: Padded, source: Source | None, rules: Rules) -> Outcome:
    """Return where the pair ends that starts as (0, embeddings) and is overwritten at `source`, if there is one."""
    pair: Pair = rows.embedded.new_zeros(rows.embedded.shape), rows.embedded
    mixed = []
    for number, layer in enumerate(parts.layers):
        heads = _mixed(pair, layer, parts, rows, rules)
        if source is not None and source.layer == number:
            heads = _inserted(heads, source)
        mixed.append(heads)
        pair = _after_attention(pair, heads, layer, rules)
    return Outcome(_head(pair, parts, rows), mixed)


def _inserted(mixed: Pair, source: Source) -> Pair:
    """Return the pair with beta = z - reference and gamma = reference at the source's head."""
    beta, gamma = (part.clone() for part in mixed)
    z = beta[:, source.head] + gamma[:, source.head]
    beta[:, source.head], gamma[:, source.head] = z - source.reference, source.reference
    return beta, gamma


def _mixed(pair: Pair, layer: Layer, parts: Network, rows: Padded, rules: Rules) -> Pair:
    """Return the pair of what a layer's heads mix, [B, heads, T, d]."""
    import torch

    inner = norm.both(pair, layer.norms[0]) if layer.norm_first else pair
    beta, gamma = (attention.split(part, layer) for part in linear.both(inner, layer.qkv))
    q, k, v = zip(beta, gamma, strict=True)
    if layer.head_norms is not None:
        q, k = norm.both(q, layer.head_norms[0]), norm.both(k, layer.head_norms[1])
    positions = torch.arange(rows.mask.shape[1], device=rows.mask.device)
    if parts.rotary is not None:
        cos, sin = (part.unsqueeze(1) for part in parts.rotary(positions))
        q, k = (tuple(attention.rotated(part, cos, sin) for part in kind) for kind in (q, k))
    q, k, v = (tuple(part.transpose(1, 2) for part in kind) for kind in (q, k, v))
    mask = attention.allowed(positions, positions, parts.causal, layer.window)
    padding = torch.zeros(rows.mask.shape, device=rows.mask.device).masked_fill_(rows.mask == 0, attention.FAR)
    seen = padding[:, None, None, :] if mask is None else padding[:, None, None, :] + mask
    return attention.both(q, k, v, layer, seen, rules.attention == "frozen")


def _after_attention(pair: Pair, mixed: Pair, layer: Layer, rules: Rules) -> Pair:
    """Return the pair of what leaves a layer."""
    heads = tuple(part.transpose(1, 2).flatten(2) for part in mixed)
    middle = _sum(pair, linear.both((heads[0], heads[1]), layer.output))
    entered = norm.both(middle, layer.norms[1 if layer.norm_first else 0])
    up = _fixed(linear.both(entered, layer.mlp.up), rules)
    if layer.mlp.gate is None:
        hidden = activation.both(up, layer.mlp.activation)
    else:
        gate = _fixed(linear.both(entered, layer.mlp.gate), rules)
        hidden = activation.both_gated(gate, up, layer.mlp.activation, rules.product)
    down = _fixed(linear.both(hidden, layer.mlp.down), rules)
    added = _sum(middle if layer.norm_first else entered, down)
    return _fixed(added if layer.norm_first else norm.both(added, layer.norms[1]), rules)


def _fixed(pair: Pair, rules: Rules) -> Pair:
    return linear.both_fixed(pair) if rules.sign_fix else pair


def _sum(a: Pair, b: Pair) -> Pair:
    return a[0] + b[0], a[1] + b[1]


def _head(pair: Pair, parts: Network, rows: Padded) -> Pair:
    """Return the pair of the logits at the token that the head reads."""
    import torch

    texts = torch.arange(len(rows.mask), device=rows.mask.device)
    read = rows.mask.sum(1) - 1 if parts.read == "last" else torch.zeros_like(texts)
    pair = pair[0][texts, read], pair[1][texts, read]
    pair = pair if parts.final is None else norm.both(pair, parts.final)
    for step in parts.head:
        pair = linear.both(pair, step) if isinstance(step, Linear) else activation.both(pair, step)
    return pair
