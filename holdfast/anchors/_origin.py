"""What anchors hold on to: the model before the first step, and the form of an anchor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from holdfast.anchors._answers import Answers, Frozen, Known
from holdfast.anchors._divergence import StartLogits

if TYPE_CHECKING:
    from torch import Tensor, nn

    from holdfast.models import Model
    from holdfast.training.forward import Forward
    from holdfast.training.pool import Pool


@dataclass(frozen=True)
class Origin:
    """The model before the first step, with the selection attached.

    `remembered_heads` are the heads that score remembered tasks. `importance()` gives the general importance, one
    number per encoder weight by full parameter name. `logits(head, positions)` gives the model's own logits on rows of
    the pool, float32 [rows, labels], computed in eval mode. `moving` are the parameters that may move, `masks` say
    which entries of partly moving ones, `unlabelled` are the texts of `learn.unlabelled`; texts are read to
    `max_length` tokens in `precision`.
    """

    model: Model
    pool: Pool
    remembered_heads: tuple[str, ...]
    seed: int
    importance: Callable[[], dict[str, Tensor]]
    logits: Callable[[str, Sequence[int]], Tensor]
    moving: dict[str, nn.Parameter] = field(default_factory=dict)
    masks: dict[str, Tensor] = field(default_factory=dict)
    unlabelled: tuple[str, ...] = ()
    max_length: int = 128
    precision: str = "auto"

    def answers(self, rows: Sequence[int]) -> Answers:
        """Return the model's own logits on rows of the pool: computed now, or by a decoder when asked."""
        if self.model.generates:
            begun = {name: p.detach().clone() for name, p in self.moving.items()}
            return Frozen(self.moving, begun, starts=True)
        by_head = self.pool.by_head(rows)
        return Known({head: StartLogits(found, self.logits(head, found)) for head, found in by_head.items()})


class Anchor(Protocol):
    """A penalty that grows with the distance from the start model."""

    state: dict[str, Tensor]

    def __call__(self, batch: Forward) -> Tensor:
        """Return the penalty at the model's present weights, a scalar."""
