"""The logits of models that are not trained, on rows of a batch: known from the start, or computed when asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

from holdfast import inference
from holdfast.tuners import injected

if TYPE_CHECKING:
    from torch import Tensor, nn

    from holdfast.anchors._divergence import StartLogits
    from holdfast.models import Model
    from holdfast.training.forward import Forward


class Answers(Protocol):
    """A model's logits; `state` are the tensors that it holds on to and that decide what is learned."""

    state: dict[str, Tensor]

    def at(self, batch: Forward, head: str, rows: Sequence[int]) -> Tensor:
        """Return the logits of a head on rows of the batch, without gradient, float32 [rows, labels]."""


class Known:
    """Logits computed once for rows of the pool, by head."""

    def __init__(self, by_head: dict[str, StartLogits]) -> None:
        self.by_head = by_head
        self.state = {head: found.logits for head, found in by_head.items()}

    def at(self, batch: Forward, head: str, rows: Sequence[int]) -> Tensor:
        """Return what is known of the rows."""
        return self.by_head[head].at([batch.positions[row] for row in rows])


class Frozen:
    """The model with earlier values of its moving weights, asked in eval mode.

    Where logits are per token there are too many to keep, so they are computed with every batch. `starts` says that
    the weights are the start model's, which lacks what was added for the tuning.
    """

    def __init__(self, moving: dict[str, nn.Parameter], weights: dict[str, Tensor], starts: bool = False) -> None:
        self.moving, self.weights, self.starts = moving, weights, starts
        self.state: dict[str, Tensor] = {}
        self._last: tuple[Forward, Forward] | None = None

    def at(self, batch: Forward, head: str, rows: Sequence[int]) -> Tensor:
        """Return the logits that the model gave with the earlier weights."""
        import torch

        lacking = injected.absent(batch.model.encoder) if self.starts else nullcontext()
        with torch.no_grad(), _in_place(self.moving, self.weights), lacking, inference.evaluating(batch.model.network):
            if self._last is None or self._last[0] is not batch:
                self._last = batch, batch.again()
            return self._last[1].logits(head, rows)


class Another:
    """Another model, which reads the same tokens."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.state: dict[str, Tensor] = {}
        self._last: tuple[Forward, Forward] | None = None

    def at(self, batch: Forward, head: str, rows: Sequence[int]) -> Tensor:
        """Return its logits."""
        import torch

        with torch.no_grad(), inference.evaluating(self.model.network):
            if self._last is None or self._last[0] is not batch:
                self._last = batch, batch.by(self.model)
            return self._last[1].logits(head, rows)


@contextmanager
def _in_place(parameters: dict[str, nn.Parameter], values: dict[str, Tensor]) -> Iterator[None]:
    """Have the parameters hold other values; their own tensors come back untouched."""
    own = {name: parameter.data for name, parameter in parameters.items()}
    for name, parameter in parameters.items():
        parameter.data = values[name]
    try:
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.data = own[name]
