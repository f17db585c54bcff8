"""EAFT: cross entropy weighted by how undecided the model is among its likeliest labels.

Inferred: the default k, and that the k likeliest are normalised before the entropy is taken.
"""

from __future__ import annotations

import math
from functools import partial

from pydantic import Field

from holdfast import choices
from holdfast.objectives import _qtarget

SHORTHAND = "top"
ROW = _qtarget.Row(
    loss="-sg[H(top k) / log k] log p_y",
    reliance="H(top k) / log k",
    residual="the model",
    source="EAFT, arXiv 2601.02151",
    inferred="the default k; that the k likeliest are normalised before the entropy is taken",
    trap="a confident model learns nothing, least of all where it is confidently wrong",
)


class Options(choices.Options):
    """The entropy is that of the `top` likeliest labels (all of them where there are fewer)."""

    top: int = Field(20, ge=2)


def target(seen: _qtarget.Seen, options: Options) -> _qtarget.Target:
    """The label as far as the model is undecided, and the model itself for the rest."""
    log_top = seen.log_p.topk(min(options.top, seen.log_p.shape[-1]), dim=-1).values.log_softmax(-1)
    entropy = -(log_top.exp() * log_top).sum(-1)
    return _qtarget.Target(reliance=entropy / math.log(log_top.shape[-1]))


loss = partial(_qtarget.loss, target)
figures = partial(_qtarget.figures, target)
