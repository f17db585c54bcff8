"""Supervised fine-tuning: cross entropy with the given labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from holdfast import choices

if TYPE_CHECKING:
    from torch import Tensor


class Options(choices.Options):
    """`label_smoothing` e puts e / (number of labels) of the target's mass on every label."""

    label_smoothing: float = Field(0.0, ge=0, lt=1)


def loss(logits: Tensor, labels: Tensor, options: Options) -> Tensor:
    """Return -sum_k q_k log softmax(logits)_k per row, q the (smoothed) one-hot label: [rows, labels] -> [rows]."""
    from torch.nn.functional import cross_entropy

    return cross_entropy(logits, labels, reduction="none", label_smoothing=options.label_smoothing)
