"""How much of a task a circuit carries: F(C) = (m(C) - m(nothing)) / (m(network) - m(nothing)), CD-T's measure.

m is the mean margin with every head outside C replaced by its mean. F is 0 for no head and 1 for all of them; it can
exceed 1, heads that work against the answer being gone. Random circuits of equal size say what a number is worth.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.circuits import ablation

if TYPE_CHECKING:
    from holdfast.circuits.discovery import Head
    from holdfast.circuits.examples import Chunk, Margin
    from holdfast.circuits.reference import Reference
    from holdfast.decomposition.parts import Network

_LEAST = 1e-6


@dataclass(frozen=True)
class Point:
    """A circuit of `size` heads: its faithfulness, that of random ones, and the share of those that it beats."""

    size: int
    faithfulness: float
    random: list[float]
    beaten: float


class Judge:
    """Measures faithfulness on some rows. `whole` and `nothing` are the margins with all heads and with none."""

    def __init__(self, network: Network, chunks: list[Chunk], reference: Reference, margin: Margin) -> None:
        self._ablation, self._kind = ablation.Ablation(network, chunks, reference), margin
        self.layers, self.heads = len(network.layers), network.layers[0].heads
        self.whole = self.margin([(layer, head) for layer in range(self.layers) for head in range(self.heads)])
        self.nothing = self.margin([])

    @property
    def defined(self) -> bool:
        """Whether heads carry anything of the margin, without which F is not defined."""
        return self.whole - self.nothing > _LEAST

    def margin(self, heads: Sequence[Head]) -> float:
        """Return m(C)."""
        import torch

        kept = torch.zeros(self.layers, self.heads, dtype=torch.bool)
        for head in heads:
            kept[head] = True
        return self._ablation.margin(kept, self._kind)

    def faithfulness(self, heads: Sequence[Head]) -> float:
        """Return F(C)."""
        return (self.margin(heads) - self.nothing) / (self.whole - self.nothing)

    def point(self, heads: Sequence[Head], controls: int, seed: int) -> Point:
        """Return F(C) beside `controls` random circuits of its size, drawn from all heads with `seed`."""
        generator = random.Random(f"{seed}/{len(heads)}")
        every = [(layer, head) for layer in range(self.layers) for head in range(self.heads)]
        own = self.faithfulness(heads)
        others = [self.faithfulness(generator.sample(every, len(heads))) for _ in range(controls)]
        return Point(len(heads), own, others, sum(own > other for other in others) / len(others))


def sizes(circuit: int, total: int) -> list[int]:
    """Return the circuit sizes of the curve: powers of two below `total`, and the circuit's own."""
    return sorted({2**power for power in range(total.bit_length()) if 2**power < total} | {circuit})
