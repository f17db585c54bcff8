"""What anchors hold on to: the model before the first step, and the form of an anchor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.models import Model
    from holdfast.training.forward import Forward
    from holdfast.training.pool import Pool


@dataclass(frozen=True)
class Origin:
    """The model before the first step, with the selection attached.

    `remembered_heads` are the heads that score remembered tasks. `importance()` gives the general importance, one
    number per encoder weight by full parameter name. `logits(head, positions)` gives the model's own logits on rows of
    the pool, float32 [rows, labels], computed in eval mode.
    """

    model: Model
    pool: Pool
    remembered_heads: tuple[str, ...]
    seed: int
    importance: Callable[[], dict[str, Tensor]]
    logits: Callable[[str, Sequence[int]], Tensor]


class Anchor(Protocol):
    """A penalty that grows with the distance from the start model."""

    state: dict[str, Tensor]

    def __call__(self, batch: Forward) -> Tensor:
        """Return the penalty at the model's present weights, a scalar."""
