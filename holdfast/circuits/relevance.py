"""How much each head gives to the answer and to the heads above it, signed: positive pushes towards the right label.

For every head s as the source, with beta_s = z_s - mu_s and gamma_s = mu_s (CT-SFT):
to the answer,  R(s) = mean over x of the margin of beta's logits (`examples.margins`);
to a head t,    R(s, t) = mean over x and tokens of <beta at t, d_t> / ||d_t||, d_t = z_t - mu_t.
CT-SFT's exact directional score could not be read: both are inferred, after the `dot` option of CD-T's code.
One sweep gives all of them: what is on its way to the logits is listened to at every layer above the source.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.circuits import examples
from holdfast.circuits.reference import token_weights
from holdfast.decomposition import relevant, whole

if TYPE_CHECKING:
    import torch

    from holdfast.circuits.examples import Chunk, Margin
    from holdfast.circuits.reference import Reference
    from holdfast.decomposition.parts import Network
    from holdfast.decomposition.settings import Rules
    from holdfast.decomposition.whole import Whole

_TOGETHER = 4096  # tokens of all sources that are carried at once
Report = Callable[[float], None]


@dataclass(frozen=True)
class Relevance:
    """`answer` [layers, heads] is R(s); `between` [layers, heads, layers, heads] is R(s, t), 0 unless t is above s."""

    answer: torch.Tensor
    between: torch.Tensor


def measure(
    network: Network,
    chunks: list[Chunk],
    reference: Reference,
    rules: Rules,
    margin: Margin,
    report: Report | None = None,
) -> Relevance:
    """Return the relevance of every head. Raises `HoldfastError` where the parts are not the network's."""
    layers, heads = len(network.layers), network.layers[0].heads
    answer = chunks[0].weights.new_zeros(layers, heads)
    found = Relevance(answer, answer.new_zeros(layers, heads, layers, heads))
    for done, chunk in enumerate(chunks):
        known = whole.run(network, chunk.packed, rules.attention == "frozen")
        whole.check(network, known)
        directions = [_direction(known, chunk, reference, layer, heads) for layer in range(layers)]
        for layer in range(layers):
            _layer(network, chunk, known, reference, rules, margin, layer, directions, found)
            if report:
                report((done + (layer + 1) / layers) / len(chunks))
    return found


def _direction(known: Whole, chunk: Chunk, reference: Reference, layer: int, heads: int) -> torch.Tensor:
    """Return d_t / ||d_t|| of a layer's heads, times each token's weight, [n, heads, d]."""
    from torch.nn import functional

    away = (known.layers[layer].mixed - reference.of(layer, chunk.packed)).squeeze(1).unflatten(-1, (heads, -1))
    weights = token_weights(chunk, reference.positions, layer == len(known.layers) - 1)
    return functional.normalize(away, dim=-1) * weights.unsqueeze(-1)


def _layer(
    network: Network,
    chunk: Chunk,
    known: Whole,
    reference: Reference,
    rules: Rules,
    margin: Margin,
    layer: int,
    directions: list[torch.Tensor],
    found: Relevance,
) -> None:
    """Add what the heads of a layer give, a few of them at a time."""
    import torch

    heads = network.layers[layer].heads
    together = max(1, _TOGETHER // len(chunk.packed.position))
    for first in range(0, heads, together):
        sources = range(first, min(first + together, heads))

        def listen(number: int, beta: torch.Tensor, sources: range = sources) -> None:
            heard = torch.einsum("nshd,nhd->sh", beta.unflatten(-1, (heads, -1)), directions[number])
            found.between[layer, sources.start : sources.stop, number] += heard

        mixed = inserted(known, chunk, reference, layer, sources, network.layers[layer].head_dim)
        beta = relevant.onward(network, known, layer, mixed, rules, listen)
        each = examples.margins(beta, known.logits.squeeze(1), chunk.targets, margin)
        found.answer[layer, sources.start : sources.stop] += chunk.weights @ each


def inserted(known: Whole, chunk: Chunk, reference: Reference, layer: int, sources: range, size: int) -> torch.Tensor:
    """Return beta of what a layer's heads mix, [n, S, heads * d], for each source: z - mu at its own head, else 0."""
    z = known.layers[layer].mixed
    away = z - reference.of(layer, chunk.packed)
    touched = reference.touches(layer, chunk.packed)
    away = away if touched is None else away * touched
    found = z.new_zeros(z.shape[0], len(sources), z.shape[-1])
    for place, head in enumerate(sources):
        own = slice(head * size, (head + 1) * size)
        found[:, place, own] = away[:, 0, own]
    return found
