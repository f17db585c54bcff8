"""Rows of a batch put end to end, so that there is next to no padding; no row sees another.

Rows are laid into bins as wide as the longest of them, first fit, the longest first; attention then costs no more than
with padding. Positions begin anew with every row, and from them `transformers` knows which tokens may see each other
(`find_packed_sequence_indices`), which is why packed rows go through the network without an attention mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """Where tokens of padded rows lie in packed ones.

    `padded` and `packed` are the places of the same tokens, int64 [tokens], in flattened [rows, width] and
    [bins, width]; `rows`, `bins` and `width` are these sizes.
    """

    padded: Tensor
    packed: Tensor
    rows: int
    bins: int
    width: int

    @property
    def places(self) -> int:
        """How many places packed rows have, tokens and padding."""
        return self.bins * self.width

    def pack(self, values: Tensor) -> Tensor:
        """Return values [rows, width, ...] as [bins, width, ...], 0 where there is no token."""
        return _moved(values, self.padded, self.packed, self.bins)

    def unpack(self, values: Tensor) -> Tensor:
        """Return values [bins, width, ...] as [rows, width, ...], 0 where there is no token; gradients flow."""
        return _moved(values, self.packed, self.padded, self.rows)


def of(mask: Tensor) -> Packing:
    """Return how rows with an attention mask [rows, width] are packed."""
    import torch

    rows, width = mask.shape
    lengths = mask.sum(1).tolist()
    padded: list[Tensor] = []
    packed: list[Tensor] = []
    bins = first_fit(lengths, width)
    for number, own in enumerate(bins):
        begin = number * width
        for row in own:
            padded.append(row * width + mask[row].nonzero().squeeze(1))
            packed.append(torch.arange(begin, begin + lengths[row], device=mask.device))
            begin += lengths[row]
    return Packing(torch.cat(padded), torch.cat(packed), rows, len(bins), width)


def first_fit(lengths: Sequence[int], width: int) -> list[list[int]]:
    """Return the rows of each bin: the longest row first, each into the first bin that has room for it."""
    bins: list[list[int]] = []
    room: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        place = next((number for number, left in enumerate(room) if left >= lengths[row]), None)
        if place is None:
            place = len(bins)
            bins.append([])
            room.append(width)
        bins[place].append(row)
        room[place] -= lengths[row]
    return bins


def _moved(values: Tensor, source: Tensor, target: Tensor, rows: int) -> Tensor:
    flat = values.flatten(0, 1)
    moved = flat.new_zeros((rows * values.shape[1], *values.shape[2:]))
    return moved.index_copy(0, target, flat[source]).unflatten(0, (rows, values.shape[1]))
