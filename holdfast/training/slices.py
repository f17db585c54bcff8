"""Of tensors that move in part, only the entries that move: they alone have gradients that last, and moments.

The tensor itself stays the truth, whoever writes to it. What the optimiser steps is a vector of its moving entries,
read from the tensor before every step and written back after it. The whole tensor's gradient exists only until its
entries are taken from it, in the backward pass, one tensor after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


class Slices:
    """The moving entries of each masked tensor, `masks` by names of `moving`; `stepped` is what the optimiser gets.

    `stepped` holds, under the names of `moving`, whole tensors themselves and a vector [entries] for each masked one.
    `parts` has the vector and the places of the latter: who knows a vector's gradient may give it
    (`holdfast.training.sliced`). `hooks` are the handles by which it is taken from the whole tensor's otherwise.
    """

    def __init__(self, moving: Mapping[str, nn.Parameter], masks: Mapping[str, Tensor]) -> None:
        from torch import nn

        self._tensors = {name: moving[name] for name in masks}
        self._places = {name: Places.of(mask, moving[name].device) for name, mask in masks.items()}
        self._vectors = {name: nn.Parameter(self._places[name].take(self._tensors[name].detach())) for name in masks}
        self.stepped: dict[str, nn.Parameter] = {**moving, **self._vectors}
        self.parts = {name: (self._vectors[name], self._places[name]) for name in masks}
        self.hooks = [
            tensor.register_post_accumulate_grad_hook(self._taking(name)) for name, tensor in self._tensors.items()
        ]

    def follow(self, optimizer: Any) -> None:
        """Read the tensors before every step of an optimiser and write to them after it."""
        if self._tensors:
            optimizer.register_step_pre_hook(lambda *args: self._read())
            optimizer.register_step_post_hook(lambda *args: self._write())

    def _taking(self, name: str) -> Any:
        vector, places = self._vectors[name], self._places[name]  # and no tensor: it would keep itself alive for ever

        def take(tensor: Tensor) -> None:
            assert tensor.grad is not None
            found = places.take(tensor.grad)
            vector.grad = found if vector.grad is None else vector.grad + found
            tensor.grad = None

        return take

    def _read(self) -> None:
        for name, vector in self._vectors.items():
            vector.data.copy_(self._places[name].take(self._tensors[name].detach()))

    def _write(self) -> None:
        for name, vector in self._vectors.items():
            self._places[name].put(self._tensors[name].detach(), vector.detach())
            vector.grad = None


@dataclass(frozen=True)
class Places:
    """Which entries of a tensor move, in its order: whole rows (`dim` 0) or columns (1) of `index`, or any (None)."""

    dim: int | None
    index: Tensor

    @classmethod
    def of(cls, mask: Tensor, device: Any = "cpu") -> Places:
        """Return the places of a mask."""
        for dim in range(mask.dim() if mask.dim() == 2 else 0):
            chosen = mask.any(1 - dim)
            if int(mask.sum()) == int(chosen.sum()) * mask.shape[1 - dim]:
                return cls(dim, chosen.nonzero().squeeze(1).to(device))
        return cls(None, mask.flatten().nonzero().squeeze(1).to(device))

    def take(self, whole: Tensor) -> Tensor:
        """Return a copy of the entries, [entries]."""
        found = whole.reshape(-1) if self.dim is None else whole
        return found.index_select(self.dim or 0, self.index).reshape(-1)

    def put(self, whole: Tensor, entries: Tensor) -> None:
        """Write the entries into the tensor."""
        place = whole.view(-1) if self.dim is None else whole
        shape = {None: (-1,), 0: (-1, *whole.shape[1:]), 1: (len(whole), -1)}[self.dim]
        place.index_copy_(self.dim or 0, self.index, entries.view(shape))
