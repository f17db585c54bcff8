"""Dynamic fine-tuning: cross entropy weighted by the probability that the model already gives to the label."""

from __future__ import annotations

from functools import partial

from holdfast import choices
from holdfast.objectives import _qtarget

ROW = _qtarget.Row(
    loss="-sg[p_y] log p_y",
    reliance="p_y",
    residual="the model",
    source="DFT, arXiv 2508.05629",
    trap="labels that the model finds unlikely give almost no signal: warm up new ones with `sft`",
)


class Options(choices.Options):
    """None."""


def target(seen: _qtarget.Seen, options: Options) -> _qtarget.Target:
    """The label as far as the model already believes it, and the model itself for the rest."""
    return _qtarget.Target(reliance=seen.of_label.exp())


loss = partial(_qtarget.loss, target)
figures = partial(_qtarget.figures, target)
loss_of_label = partial(_qtarget.loss_of_label, target)
figures_of_label = partial(_qtarget.figures_of_label, target)
