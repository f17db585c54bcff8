"""Importance-weighted SFT: cross entropy weighted by how much likelier the label has become.

The weight is inferred: p_y over the start model's p_y, at most `cap`, each row being its own trajectory.
"""

from __future__ import annotations

from functools import partial

from pydantic import Field

from holdfast import choices
from holdfast.objectives import _qtarget

SHORTHAND = "cap"
NEEDS = ("teacher",)
ROW = _qtarget.Row(
    loss="-w log p_y",
    reliance="w (may exceed 1)",
    residual="the model",
    source="iw-SFT, arXiv 2507.12856",
    inferred="the weight: min(cap, p_y / the start model's p_y), each row being its own trajectory",
    trap="weights feed on themselves: without a low cap what rose first is pushed most",
)


class Options(choices.Options):
    """A weight is at most `cap`."""

    cap: float = Field(2.0, gt=0)


def target(seen: _qtarget.Seen, options: Options) -> _qtarget.Target:
    """The label, weighted by its probability over the start model's."""
    ratio = (seen.of_label - _qtarget.at(seen.teacher, seen.labels)).exp()
    return _qtarget.Target(reliance=ratio.clamp(max=options.cap))


loss = partial(_qtarget.loss, target)
figures = partial(_qtarget.figures, target)
