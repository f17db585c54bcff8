"""Hybrid distillation: cross entropy to the labels and to a teacher.

The default share is inferred.
"""

from __future__ import annotations

from functools import partial

from pydantic import Field

from holdfast import choices
from holdfast.objectives import _qtarget

EXAMPLE = {"teacher": "models:/NAME@champion"}
SHORTHAND = "teacher"
NEEDS = ("teacher",)
ROW = _qtarget.Row(
    loss="(1 - s) CE(label) + s KL(teacher, model)",
    reliance="1 - s",
    residual="the teacher",
    source="Hinton et al. 2015, arXiv 1503.02531, at temperature 1",
    inferred="the default s",
    trap="where teacher and label differ it settles between them",
)


class Options(choices.Options):
    """`teacher` is a registered version, `share` is s, the teacher's."""

    teacher: str
    share: float = Field(0.5, gt=0, lt=1)


def target(seen: _qtarget.Seen, options: Options) -> _qtarget.Target:
    """The label and the teacher."""
    return _qtarget.Target(
        reliance=1 - options.share,
        residual=seen.teacher.exp(),
    )


loss = partial(_qtarget.loss, target)
figures = partial(_qtarget.figures, target)
