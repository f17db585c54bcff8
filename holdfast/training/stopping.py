"""Early stopping: the best weights by validation loss are kept, and training ends after `patience` worse epochs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass
class Stopping:
    """The best validation loss so far, the update it was met at and the weights there; off when `patience` is None."""

    patience: int | None
    best_loss: float | None = None
    best_step: int | None = None
    worse: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)

    @property
    def exhausted(self) -> bool:
        """Say whether training should end."""
        return self.patience is not None and self.worse >= self.patience

    def see(self, loss: float, step: int, moving: dict[str, nn.Parameter]) -> None:
        """Take note of the validation loss after an epoch that ended with update `step`."""
        if self.patience is None:
            return
        if self.best_loss is not None and not loss < self.best_loss:
            self.worse += 1
            return
        self.best_loss, self.best_step, self.worse = loss, step, 0
        self.weights = {name: p.detach().clone() for name, p in moving.items()}

    def put_back(self, moving: dict[str, nn.Parameter]) -> None:
        """Set the parameters to the best weights, where any were kept."""
        import torch

        with torch.no_grad():
            for name, value in self.weights.items():
                moving[name].copy_(value)

    def document(self) -> dict[str, Any]:
        """Return everything but the weights, JSON-able."""
        return {"best_loss": self.best_loss, "best_step": self.best_step, "worse": self.worse}
