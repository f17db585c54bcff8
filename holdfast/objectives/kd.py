"""Knowledge distillation: cross entropy to a teacher, the labels unused."""

from __future__ import annotations

from functools import partial

from holdfast import choices
from holdfast.objectives import _qtarget

EXAMPLE = {"teacher": "models:/NAME@champion"}
SHORTHAND = "teacher"
NEEDS = ("teacher",)
ROW = _qtarget.Row(
    loss="CE(teacher)",
    reliance="0",
    residual="the teacher",
    source="Hinton et al. 2015, arXiv 1503.02531, at temperature 1",
    trap="the teacher's mistakes are learned too",
)


class Options(choices.Options):
    """`teacher` is a registered version."""

    teacher: str


def target(seen: _qtarget.Seen, options: Options) -> _qtarget.Target:
    """The teacher alone."""
    return _qtarget.Target(reliance=0.0, residual=seen.teacher.exp())


loss = partial(_qtarget.loss, target)
figures = partial(_qtarget.figures, target)
