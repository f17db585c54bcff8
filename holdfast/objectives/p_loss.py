"""The probability of a wrong answer, 1 - p_y: rows that the model finds unlikely hardly count."""

from __future__ import annotations

from functools import partial

from holdfast import choices
from holdfast.objectives import _qtarget

ROW = _qtarget.Row(
    loss="1 - p_y",
    reliance="p_y",
    residual="the model",
    source="Beyond-log at exponent 1, arXiv 2510.00526",
    trap="the gradient is that of `dft`, so it learns new labels and facts slowly",
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
