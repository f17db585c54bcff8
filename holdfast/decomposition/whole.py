"""The whole stream through a network, packed, with every activation that the rules for beta ask for kept.

The last layer is computed only where the head reads. `replace` may exchange what the heads mixed, as ablation does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.decomposition import attention
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    import torch

    from holdfast.decomposition.packed import Group, Packed
    from holdfast.decomposition.parts import Layer, Network

Rotation = tuple["torch.Tensor", "torch.Tensor"]
Replace = Callable[[int, "torch.Tensor"], "torch.Tensor"]
CLOSE, CLOSE_IN_BF16 = 2e-3, 0.1  # relative to the largest logit; a rule that is missing shows itself above it


@dataclass(frozen=True)
class Seen:
    """One layer's activations, [n, 1, width]: n is all tokens up to `qkv`, in the last layer the read ones thereafter.

    `attention` holds each group's probabilities [B, 1, heads, T, T'] where they were asked for.
    """

    entering: torch.Tensor
    qkv: torch.Tensor
    mixed: torch.Tensor
    attended: torch.Tensor
    middle: torch.Tensor
    up: torch.Tensor
    gate: torch.Tensor | None
    activated: torch.Tensor
    down: torch.Tensor
    added: torch.Tensor
    leaving: torch.Tensor
    attention: list[torch.Tensor]


@dataclass(frozen=True)
class Whole:
    """All layers' activations, what the final norm and each step of the head took in, and the logits [B, 1, C]."""

    packed: Packed
    rotation: Rotation | None
    layers: list[Seen]
    steps: list[torch.Tensor]
    logits: torch.Tensor


def run(network: Network, packed: Packed, keep_attention: bool = False) -> Whole:
    """Return the whole stream of the packed texts."""
    rotation = rotate_by(network, packed)
    x, seen = packed.embedded, []
    for number, one in enumerate(network.layers):
        last = number == len(network.layers) - 1
        seen.append(layer(one, x, packed, rotation, last, None, keep_attention))
        x = seen[-1].leaving
    steps, logits = read_out(network, x)
    return Whole(packed, rotation, seen, steps, logits)


def logits(
    network: Network, packed: Packed, replace: Replace, entering: list[torch.Tensor] | None = None
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the logits [B, C] with what the heads of each layer mix, [n, 1, heads * d], exchanged by `replace`.

    Beside them what entered each layer; given back as `entering`, so many of the first layers are not computed again.
    """
    rotation, entered = rotate_by(network, packed), list(entering or [packed.embedded])
    x = entered[-1]
    for number in range(len(entered) - 1, len(network.layers)):
        last = number == len(network.layers) - 1

        def exchange(mixed: torch.Tensor, number: int = number) -> torch.Tensor:
            return replace(number, mixed)

        x = layer(network.layers[number], x, packed, rotation, last, exchange).leaving
        if not last:
            entered.append(x)
    return read_out(network, x)[1].squeeze(1), entered


def read_out(network: Network, x: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Return what the final norm and each step of the head take in, and the logits."""
    steps = [x]
    x = x if network.final is None else network.final(x)
    for step in network.head:
        steps.append(x)
        x = step(x)
    return steps, x


def check(network: Network, whole: Whole) -> None:
    """Raise `HoldfastError` when the logits are not those of the network itself: then a part of it has no rule here."""
    said, expected = whole.logits.squeeze(1), whole.packed.logits
    off = float((said - expected).abs().max()) / max(float(expected.abs().max()), 1.0)
    exact = network.layers[0].output.weight.element_size() >= 4
    if not off <= (CLOSE if exact else CLOSE_IN_BF16):
        raise HoldfastError(
            f"circuit: the parts that were recognised do not add up to the network: its logits differ by {off:.2g} of "
            "the largest, so it cannot be decomposed"
        )


def rotate_by(network: Network, packed: Packed) -> Rotation | None:
    """Return cos and sin of every token, [N, 1, 1, head_dim]; None where nothing is rotated."""
    if network.rotary is None:
        return None
    cos, sin = network.rotary(packed.position)
    return cos.unsqueeze(1).unsqueeze(1), sin.unsqueeze(1).unsqueeze(1)


def layer(
    one: Layer,
    x: torch.Tensor,
    packed: Packed,
    rotation: Rotation | None,
    last: bool,
    exchange: Callable[[torch.Tensor], torch.Tensor] | None = None,
    keep_attention: bool = False,
) -> Seen:
    """Return one layer's activations from what enters it."""
    first, second = one.norms
    qkv = one.qkv(first(x) if one.norm_first else x)
    q, k, v = attention.split(qkv, one)
    if one.head_norms is not None:
        q, k = one.head_norms[0](q), one.head_norms[1](k)
    if rotation is not None:
        q, k = attention.rotated(q, *rotation), attention.rotated(k, *rotation)
    weights = looked(q[packed.read] if last else q, k, one, packed, last)
    mixed = mix(weights, v, one, packed, last)
    mixed = mixed if exchange is None else exchange(mixed)
    attended = one.output(mixed)
    middle = (x[packed.read] if last else x) + attended
    entered = second(middle) if one.norm_first else first(middle)
    up, gate = one.mlp.up(entered), None if one.mlp.gate is None else one.mlp.gate(entered)
    activated = one.mlp.activation(up if gate is None else gate)
    down = one.mlp.down(activated if gate is None else activated * up)
    added = (middle if one.norm_first else entered) + down
    leaving = added if one.norm_first else second(added)
    kept = weights if keep_attention else []
    return Seen(x, qkv, mixed, attended, middle, up, gate, activated, down, added, leaving, kept)


def looked(q: torch.Tensor, k: torch.Tensor, one: Layer, packed: Packed, last: bool) -> list[torch.Tensor]:
    """Return each group's attention probabilities [B, S, heads, T, T'] of q and k [n, S, heads or groups, d].

    With `last` there is one query for each text.
    """
    found = []
    for group in packed.groups:
        asked = heads_first(q[group.texts if last else group.tokens], group)
        keys = heads_first(k[group.tokens], group)
        positions = packed.position[group.tokens][: group.length]
        asking = positions[-1:] if last else positions
        mask = attention.allowed(asking, positions, packed.causal, one.window)
        found.append(attention.probabilities(asked, keys, one, mask))
    return found


def mix(weights: list[torch.Tensor], v: torch.Tensor, one: Layer, packed: Packed, last: bool) -> torch.Tensor:
    """Return values [N, S, groups, d] mixed by each group's probabilities: [n, S, heads * d]."""
    texts = len(packed.order)
    found = v.new_empty(texts if last else v.shape[0], v.shape[1], one.heads * one.head_dim)
    for group, probabilities in zip(packed.groups, weights, strict=True):
        mixed = probabilities @ attention.repeated(heads_first(v[group.tokens], group), one)
        found[group.texts if last else group.tokens] = mixed.permute(0, 3, 1, 2, 4).reshape(-1, *found.shape[1:])
    return found


def heads_first(x: torch.Tensor, group: Group) -> torch.Tensor:
    """Return one group's [B * T, S, heads, d] as [B, S, heads, T, d]."""
    return x.unflatten(0, (group.texts.stop - group.texts.start, -1)).permute(0, 2, 3, 1, 4)
