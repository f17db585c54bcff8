"""Beta alone, from the source's layer to the logits, several sources at a time, through a whole that is already known.

Beside it there is nothing to compute: gamma is the whole less beta. What makes it fast: nothing below the source's
layer, one stream instead of two, the last layer only where the head reads, no padding, and blocks of tokens that stay
in the processor's cache from one linear map to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from holdfast.decomposition import activation, attention, linear, norm, whole
from holdfast.decomposition.parts import Linear

if TYPE_CHECKING:
    import torch

    from holdfast.decomposition.parts import Layer, Network
    from holdfast.decomposition.settings import Rules
    from holdfast.decomposition.whole import Seen, Whole

Listen = Callable[[int, "torch.Tensor"], None]
_BLOCK = {"cpu": 1 << 18, "cuda": 1 << 27}  # numbers in a block's widest activation


def onward(network: Network, known: Whole, at: int, mixed: torch.Tensor, rules: Rules, listen: Listen) -> torch.Tensor:
    """Return beta of the logits, [B, S, C], for S sources whose heads in layer `at` mix `mixed` [n, S, heads * d].

    n is all tokens, or the read ones in the last layer. `listen(layer, beta of what its heads mix)` is called for every
    layer above.
    """
    beta = _after_attention(network.layers[at], known.layers[at], None, mixed, rules)
    for number in range(at + 1, len(network.layers)):
        one, seen = network.layers[number], known.layers[number]
        last = number == len(network.layers) - 1
        mixed = _mixed(one, seen, known, beta, last, rules)
        listen(number, mixed)
        beta = _after_attention(one, seen, beta[known.packed.read] if last else beta, mixed, rules)
    return _head(network, known, beta)


def _mixed(one: Layer, seen: Seen, known: Whole, beta: torch.Tensor, last: bool, rules: Rules) -> torch.Tensor:
    """Return beta of what the heads of a layer mix."""
    if rules.attention == "frozen":
        (values,) = _heads(one, seen, known, beta, (2, 3))
        return whole.mix(seen.attention, values, one, known.packed, last)
    if last:
        (queries,) = _heads(one, seen, known, beta, (0, 1), known.packed.read)
        keys, values = _heads(one, seen, known, beta, (1, 3))
    else:
        queries, keys, values = _heads(one, seen, known, beta, (0, 3))
    weights = whole.looked(queries, keys, one, known.packed, last)
    return whole.mix(weights, values, one, known.packed, last)


def _heads(
    one: Layer, seen: Seen, known: Whole, beta: torch.Tensor, kinds: tuple[int, int], only: torch.Tensor | None = None
) -> list[torch.Tensor]:
    """Return beta of some of queries (0), keys (1) and values (2), each [n, S, heads or groups, d], block by block."""
    import torch

    whole_blocks = [only] if only is not None else list(_blocks(beta, sum(one.widths)))
    found = [_block_of_heads(one, seen, known, beta, kinds, block) for block in whole_blocks]
    return [torch.cat(blocks) for blocks in zip(*found, strict=True)]


def _block_of_heads(
    one: Layer, seen: Seen, known: Whole, beta: torch.Tensor, kinds: tuple[int, int], block: slice | torch.Tensor
) -> list[torch.Tensor]:
    ends = [sum(one.widths[:kind]) for kind in range(4)]
    wanted = slice(ends[kinds[0]], ends[kinds[1]])
    x = beta[block]
    if one.norm_first:
        x = norm.relevant(x, seen.entering[block], one.norms[0])
    whole_of_them = seen.qkv[block][..., wanted]
    pieces = linear.relevant(x, whole_of_them, one.qkv.part(wanted)).split(one.widths[slice(*kinds)], -1)
    wholes = whole_of_them.split(one.widths[slice(*kinds)], -1)
    found = []
    for kind, piece, of in zip(range(*kinds), pieces, wholes, strict=True):
        piece, of = piece.unflatten(-1, (-1, one.head_dim)), of.unflatten(-1, (-1, one.head_dim))
        if kind < 2 and one.head_norms is not None:
            piece = norm.relevant(piece, of, one.head_norms[kind])
        if kind < 2 and known.rotation is not None:
            piece = attention.rotated(piece, *(part[block] for part in known.rotation))
        found.append(piece)
    return found


def _after_attention(
    one: Layer, seen: Seen, beta: torch.Tensor | None, mixed: torch.Tensor, rules: Rules
) -> torch.Tensor:
    """Return beta of what leaves a layer, from that of its residual stream (None: 0) and of what its heads mixed."""
    found = mixed.new_empty(*mixed.shape[:2], seen.leaving.shape[-1])
    for block in _blocks(mixed, seen.up.shape[-1]):
        stream = None if beta is None else beta[block]
        found[block] = _block_after_attention(one, seen, stream, mixed[block], block, rules)
    return found


def _block_after_attention(
    one: Layer, seen: Seen, beta: torch.Tensor | None, mixed: torch.Tensor, block: slice, rules: Rules
) -> torch.Tensor:
    first, second = one.norms
    middle = linear.relevant(mixed, seen.attended[block], one.output)
    if beta is not None:
        middle = middle.add_(beta)
    entered = norm.relevant(middle, seen.middle[block], second if one.norm_first else first)
    down = linear.relevant(_hidden(one, seen, entered, block, rules), seen.down[block], one.mlp.down)
    down = linear.relevant_fixed(down, seen.down[block]) if rules.sign_fix else down
    added = down.add_(middle if one.norm_first else entered)
    leaving = added if one.norm_first else norm.relevant(added, seen.added[block], second)
    return linear.relevant_fixed(leaving, seen.leaving[block]) if rules.sign_fix else leaving


def _hidden(one: Layer, seen: Seen, entered: torch.Tensor, block: slice, rules: Rules) -> torch.Tensor:
    """Return beta of what enters the MLP's last linear map."""

    def through(part: Linear, whole_of_it: torch.Tensor) -> torch.Tensor:
        found = linear.relevant(entered, whole_of_it, part)
        return linear.relevant_fixed(found, whole_of_it) if rules.sign_fix else found

    mlp, whole_up, activated = one.mlp, seen.up[block], seen.activated[block]
    up = through(mlp.up, whole_up)
    if mlp.gate is None or seen.gate is None:
        return activation.relevant(up, whole_up, activated, mlp.activation)
    whole_gate = seen.gate[block]
    gate = through(mlp.gate, whole_gate)
    return activation.relevant_gated((gate, up), (whole_gate, whole_up), activated, mlp.activation, rules.product)


def _head(network: Network, known: Whole, beta: torch.Tensor) -> torch.Tensor:
    """Return beta of the logits from that of what leaves the last layer at the read tokens."""
    if network.final is not None:
        beta = norm.relevant(beta, known.steps[0], network.final)
    after = [*known.steps[2:], known.logits]
    for step, before, then in zip(network.head, known.steps[1:], after, strict=True):
        if isinstance(step, Linear):
            beta = linear.relevant(beta, then, step)
        else:
            beta = activation.relevant(beta, before, then, step)
    return beta


def _blocks(beta: torch.Tensor, width: int) -> Iterator[slice]:
    """Yield slices of the tokens of [n, S, ...] so small that [tokens, S, width] stays in the cache."""
    step = max(1, _BLOCK.get(beta.device.type, 1 << 18) // (beta.shape[1] * width))
    for start in range(0, beta.shape[0], step):
        yield slice(start, min(start + step, beta.shape[0]))
