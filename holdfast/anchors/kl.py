"""Forward KL divergence from the start model: the model's answers should stay where the start model's were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from holdfast import choices
from holdfast.anchors import _divergence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from holdfast.anchors._origin import Anchor, Origin
    from holdfast.training.forward import Forward

SHORTHAND = "strength"


class Options(choices.Options):
    """`strength`; and on which texts the divergence is taken.

    `on: training` takes the rows of the batch, `on: remembered` `batch` further rows of the remembered `train` datasets
    at every step (their labels are not used; costs a second forward and backward pass), `on: auto` the remembered ones
    where there are any. Each row is scored by its own task's head.
    """

    strength: float = Field(1.0, gt=0)
    on: Literal["auto", "remembered", "training"] = "auto"
    batch: int = Field(16, ge=1)


def needs_remembered(options: Options) -> bool:
    """Say whether remembered rows are wanted (where there are any)."""
    return options.on != "training"


class _StartAnswers:
    """KL to the start model on `rows` of the pool, or on those that the batch has when `extra` is 0."""

    def __init__(self, origin: Origin, rows: Sequence[int], extra: int, strength: float) -> None:
        self.rows, self.extra, self.strength, self.seed = list(rows), extra, strength, origin.seed
        self.start = origin.answers(self.rows)
        self.state = self.start.state

    def __call__(self, batch: Forward) -> Tensor:
        import torch

        if self.extra:
            batch = batch.another(self._draw(batch.step))
        losses = []
        for head, rows in batch.rows_by_head().items():
            for part in batch.parts(rows):
                start = self.start.at(batch, head, part)
                losses.append(_divergence.forward_kl(start, batch.logits(head, part)))
        return self.strength * torch.cat(losses).mean()

    def _draw(self, step: int) -> list[int]:
        import numpy as np

        count = min(self.extra, len(self.rows))
        drawn = np.random.default_rng((self.seed, step)).choice(len(self.rows), count, replace=False)
        return [self.rows[i] for i in drawn]


def hold(origin: Origin, options: Options) -> Anchor:
    """Return strength * KL(start || model), averaged over rows, with the start's logits computed once in eval mode."""
    if options.on != "training" and origin.pool.remembered:
        return _StartAnswers(origin, origin.pool.remembered, options.batch, options.strength)
    return _StartAnswers(origin, range(len(origin.pool.examples)), 0, options.strength)
