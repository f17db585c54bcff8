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


class Ablation:
    """Ablates heads on some rows again and again; what enters the layers that two circuits share is computed once."""

    def __init__(self, network: Network, chunks: list[Chunk], reference: Reference) -> None:
        self.network, self.chunks, self.reference = network, chunks, reference
        self._before: tuple[torch.Tensor, list[list[torch.Tensor]]] | None = None

    def margin(self, kept: torch.Tensor, kind: Margin = "mean") -> float:
        """Return the mean margin of the right label, every head outside `kept` [layers, heads] at its reference."""
        total, entered = 0.0, []
        for number, chunk in enumerate(self.chunks):
            said, entering = whole.logits(
                self.network, chunk.packed, self._replace(chunk, kept), self._known(number, kept)
            )
            each = examples.margins(said.unsqueeze(1), said, chunk.targets, kind).squeeze(1)
            total += float(chunk.weights @ each)
            entered.append(entering)
        self._before = kept.clone(), entered
        return total

    def _known(self, chunk: int, kept: torch.Tensor) -> list[torch.Tensor] | None:
        """Return what entered the layers up to the first one whose heads are others than the last time."""
        if self._before is None:
            return None
        before, entered = self._before
        changed = (before != kept).any(1).nonzero()
        return entered[chunk][: (int(changed[0]) if len(changed) else len(kept) - 1) + 1]

    def _replace(self, chunk: Chunk, kept: torch.Tensor) -> whole.Replace:
        import torch

        def replace(layer: int, mixed: torch.Tensor) -> torch.Tensor:
            if bool(kept[layer].all()):
                return mixed
            stays = kept[layer].to(mixed.device).repeat_interleave(self.network.layers[layer].head_dim)
            touched = self.reference.touches(layer, chunk.packed)
            stays = stays if touched is None else stays | ~touched
            return torch.where(stays, mixed, self.reference.of(layer, chunk.packed))

        return replace
