"""The network with some heads replaced by their mean, MLPs and norms left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.circuits import examples
from holdfast.decomposition import whole

if TYPE_CHECKING:
    import torch

    from holdfast.circuits.examples import Chunk, Margin
    from holdfast.circuits.reference import Reference
    from holdfast.decomposition.parts import Network


def margin(
    network: Network, chunks: list[Chunk], reference: Reference, kept: torch.Tensor, kind: Margin = "mean"
) -> float:
    """Return the mean margin of the right label over the rows, every head outside `kept` [layers, heads] ablated."""
    total = 0.0
    for chunk in chunks:
        said = logits(network, chunk, reference, kept)
        each = examples.margins(said.unsqueeze(1), said, chunk.targets, kind).squeeze(1)
        total += float(chunk.weights @ each)
    return total


def logits(network: Network, chunk: Chunk, reference: Reference, kept: torch.Tensor) -> torch.Tensor:
    """Return the logits [B, C] with every head outside `kept` replaced by its reference."""
    import torch

    def replace(layer: int, mixed: torch.Tensor) -> torch.Tensor:
        if bool(kept[layer].all()):
            return mixed
        stays = kept[layer].to(mixed.device).repeat_interleave(network.layers[layer].head_dim)
        touched = reference.touches(layer, chunk.packed)
        stays = stays if touched is None else stays | ~touched
        return torch.where(stays, mixed, reference.of(layer, chunk.packed))

    return whole.logits(network, chunk.packed, replace)
