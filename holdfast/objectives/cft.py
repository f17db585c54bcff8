"""Critical token fine-tuning: cross entropy on the critical rows only.

What is critical is inferred: here, where the start model would say something else.
"""

from __future__ import annotations

from functools import partial

from holdfast import choices
from holdfast.objectives import _qtarget

NEEDS = ("teacher",)
ROW = _qtarget.Row(
    loss="-1[critical] log p_y",
    reliance="1[critical]",
    residual="the model",
    source="CFT, arXiv 2510.10974",
    inferred="what is critical: here, where the start model would say something else",
    trap="what the start model does right is not held by anything: it can be lost",
)


class Options(choices.Options):
    """None."""


def target(seen: _qtarget.Seen, options: Options) -> _qtarget.Target:
    """The label where the start model would have chosen another."""
    return _qtarget.Target(reliance=(seen.teacher.argmax(-1) != seen.labels).to(seen.log_p.dtype))


loss = partial(_qtarget.loss, target)
figures = partial(_qtarget.figures, target)
