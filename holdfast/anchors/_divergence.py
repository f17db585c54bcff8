"""Divergence from the start model's predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def forward_kl(start: Tensor, logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Return KL(softmax(start / T) || softmax(logits / T)) per row, in float32: [rows, labels] twice -> [rows].

    The gradient goes through `logits` only.
    """
    from torch.nn.functional import kl_div, log_softmax

    before = log_softmax(start.detach().float() / temperature, dim=-1)
    after = log_softmax(logits.float() / temperature, dim=-1)
    return kl_div(after, before, reduction="none", log_target=True).sum(-1)


class StartLogits:
    """The start model's logits on chosen rows of the pool, computed once and looked up by position."""

    def __init__(self, positions: list[int], logits: Tensor) -> None:
        self.logits = logits
        self._row = {position: row for row, position in enumerate(positions)}

    def at(self, positions: list[int]) -> Tensor:
        """Return the logits of the rows at `positions`, [rows, labels]."""
        return self.logits[[self._row[position] for position in positions]]
