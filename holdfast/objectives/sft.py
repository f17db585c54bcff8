"""Supervised fine-tuning: cross entropy with the given labels."""

from __future__ import annotations

from functools import partial

from holdfast import choices
from holdfast.objectives import _qtarget

ROW = _qtarget.Row(
    loss="-log p_y",
    reliance="1",
    residual="-",
    source="textbook",
)


class Options(choices.Options):
    """None."""


def target(seen: _qtarget.Seen, options: Options) -> _qtarget.Target:
    """All the mass on the label."""
    return _qtarget.Target(reliance=1.0)


loss = partial(_qtarget.loss, target)
loss_of_label = partial(_qtarget.loss_of_label, target)
