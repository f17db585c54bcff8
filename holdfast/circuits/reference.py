"""What a head gives on average, mu: what a source is measured against, and what ablation puts in its place.

The mean is over rows, every label counting alike, so that what tells labels apart cancels (CT-SFT). Over which tokens
is not known, and a setting (inferred): `mean` over all of a text, `each` position by itself as CD-T does on templated
data, or the token that the head `read`s, sources and ablations then being there alone. In the last layer only the read
token reaches the logits, and the mean is over read tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from holdfast.decomposition import whole

if TYPE_CHECKING:
    import torch

    from holdfast.circuits.examples import Chunk
    from holdfast.decomposition.packed import Packed
    from holdfast.decomposition.parts import Network

Positions = Literal["mean", "each", "read"]


@dataclass(frozen=True)
class Reference:
    """`means` per layer, [P + 1, heads * d]: one for each position and then the overall one (P = 0 but for `each`)."""

    positions: Positions
    means: list[torch.Tensor]

    def of(self, layer: int, packed: Packed) -> torch.Tensor:
        """Return mu at every token of a layer, [n, 1, heads * d]; n is the read tokens in the last layer."""
        last = layer == len(self.means) - 1
        position = packed.position[packed.read] if last else packed.position
        known = self.means[layer]
        return known[position.clamp_max(len(known) - 1)].unsqueeze(1)

    def touches(self, layer: int, packed: Packed) -> torch.Tensor | None:
        """Return where a layer's heads are measured and replaced, bool [N, 1, 1]; None for everywhere."""
        import torch

        if self.positions != "read" or layer == len(self.means) - 1:
            return None
        return torch.zeros_like(packed.position, dtype=torch.bool).index_fill_(0, packed.read, True)[:, None, None]


def measure(network: Network, chunks: list[Chunk], positions: Positions) -> Reference:
    """Return the means of every layer's heads over the rows."""
    import torch

    longest = 1 + max(int(chunk.packed.position.max()) for chunk in chunks) if positions == "each" else 0
    sums = [chunks[0].weights.new_zeros(longest + 1, layer.widths[0]) for layer in network.layers]
    totals = [chunks[0].weights.new_zeros(longest + 1, 1) for _ in network.layers]
    for chunk in chunks:

        def add(number: int, mixed: torch.Tensor, chunk: Chunk = chunk) -> torch.Tensor:
            last = number == len(network.layers) - 1
            weights = token_weights(chunk, positions, last)
            values = torch.cat((weights, weights * mixed.squeeze(1)), 1)
            overall = torch.full((len(values),), longest, device=values.device)
            for index in (overall,) if last or not longest else (overall, chunk.packed.position):
                totals[number].index_add_(0, index, values[:, :1])
                sums[number].index_add_(0, index, values[:, 1:])
            return mixed

        whole.logits(network, chunk.packed, add)
    return Reference(positions, [_divided(one, total) for one, total in zip(sums, totals, strict=True)])


def _divided(sums: torch.Tensor, totals: torch.Tensor) -> torch.Tensor:
    """Return the means; a position that no row has gets the overall one, the last."""
    import torch

    means = sums / totals.clamp_min(1e-12)
    return torch.where(totals > 0, means, means[-1:])


def token_weights(chunk: Chunk, positions: Positions, last: bool) -> torch.Tensor:
    """Return how much every token of a layer counts, [n, 1]: its text's weight, divided among the tokens that count."""
    import torch

    if last:
        return chunk.weights.unsqueeze(1)
    if positions == "read":
        found = torch.zeros_like(chunk.packed.text, dtype=chunk.weights.dtype)
        return found.index_copy_(0, chunk.packed.read, chunk.weights).unsqueeze(1)
    lengths = chunk.packed.text.bincount()
    return (chunk.weights / lengths)[chunk.packed.text].unsqueeze(1)
