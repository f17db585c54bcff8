"""`training.compile`: the layers of a network compiled by `torch.compile` while it is tuned.

Each layer is compiled by itself, for every width at once: the layers are alike, so that what is compiled for one serves
them all, and no text is so long that everything is compiled anew. What is computed is the same but for rounding. Looks
at `valid` run the network as it is. Imports torch, so it is imported inside functions only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from holdfast import anatomy
from holdfast.models import Model

BACKEND = "inductor"


class Layers:
    """The layers of a model; compiled `while_training`, and at no other time."""

    def __init__(self, model: Model, wanted: bool) -> None:
        self._layers: list[nn.Module] = []
        if wanted:
            self._layers = [model.network.get_submodule(name) for name in anatomy.layers(model)]
        for layer in self._layers:
            layer.compile(backend=BACKEND, dynamic=True)
        self._calls: list[Any] = [layer._compiled_call_impl for layer in self._layers]
        self._set(False)

    @contextmanager
    def while_training(self) -> Iterator[None]:
        """Run the compiled layers while the context lasts."""
        self._set(True)
        try:
            yield
        finally:
            self._set(False)

    def _set(self, on: bool) -> None:
        for layer, call in zip(self._layers, self._calls, strict=True):
            layer._compiled_call_impl = call if on else None  # what nn.Module.compile sets and a call looks for
