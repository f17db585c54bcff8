"""Learning without forgetting (Li and Hoiem 2016): old heads keep their answers on new texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from holdfast import choices
from holdfast.anchors import _divergence

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.anchors._origin import Anchor, Origin
    from holdfast.training.forward import Forward

SHORTHAND = "strength"


class Options(choices.Options):
    """`strength` is lambda, `temperature` T.

    Made for tasks with heads of their own. Where the remembered task shares the head that learns, the start model's
    wrong answers on new texts are held too, against the labels: prefer `kl` on remembered texts or replay there.
    """

    strength: float = Field(1.0, gt=0)
    temperature: float = Field(2.0, gt=0)


class _OldAnswers:
    def __init__(self, origin: Origin, heads: tuple[str, ...], options: Options) -> None:
        self.options = options
        self.rows = set(origin.pool.learn)
        learn = list(origin.pool.learn)
        self.start = {head: _divergence.StartLogits(learn, origin.logits(head, learn)) for head in heads}
        self.state = {head: start.logits for head, start in self.start.items()}

    def __call__(self, batch: Forward) -> Tensor:
        import torch

        rows = [row for row, position in enumerate(batch.positions) if position in self.rows]
        if not rows:
            return torch.zeros((), device=batch.model.network.device)
        positions, t = [batch.positions[row] for row in rows], self.options.temperature
        losses = [
            _divergence.forward_kl(start.at(positions), batch.logits(head, rows), t).sum()
            for head, start in self.start.items()
        ]
        return self.options.strength * t * t * torch.stack(losses).sum() / len(batch.positions)


def hold(origin: Origin, options: Options) -> Anchor:
    """Return strength * T^2 * KL(start || model) at temperature T, averaged over the batch's rows.

    Rows of remembered tasks (replay) count as 0, so that a row weighs the same in a batch that comes in parts. It is
    summed over the heads of the remembered tasks; where nothing is remembered, it is taken at the head in place.
    """
    return _OldAnswers(origin, origin.remembered_heads or (origin.model.head,), options)
