"""The answer is the gold answer, up to case, punctuation, articles and white space, or to the letter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import BeforeValidator

from holdfast import choices
from holdfast.generation import metrics
from holdfast.judges._case import Ask, Case

SHORTHAND = "strict"


class Options(choices.Options):
    """`strict`: compare to the letter, but for white space at the ends; `exact: strict` says the same."""

    strict: Annotated[bool, BeforeValidator(lambda value: True if value == "strict" else value)] = False


def judge(cases: Sequence[Case], options: Options, ask: Ask) -> list[bool]:
    """Return whether each answer is the same text as the gold one."""
    if options.strict:
        return [case.answer.strip() == case.gold.strip() for case in cases]
    return [metrics.exact(case.answer, case.gold) for case in cases]
