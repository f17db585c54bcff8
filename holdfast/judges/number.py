"""The answer comes to the same final number as the gold answer.

S3FT's judge of worked sums, as far as is known: that it compares final numbers, and how, is inferred.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from holdfast import choices
from holdfast.errors import BadInput
from holdfast.generation import numbers
from holdfast.judges._case import Ask, Case
from holdfast.rows import Row

SHORTHAND = "tolerance"


class Options(choices.Options):
    """`tolerance`: the absolute difference that still counts as equal."""

    tolerance: float = Field(0.0, ge=0)


def check(rows: Sequence[Row], options: Options) -> None:
    """Raise `BadInput` naming the first row whose gold answer has no final number."""
    for number, row in enumerate(rows, 1):
        if numbers.final(str(row["answer"])) is None:
            raise BadInput("the gold answer has no final number to judge by", row=number, key="answer")


def judge(cases: Sequence[Case], options: Options, ask: Ask) -> list[bool]:
    """Return whether each answer's final number is the gold one's."""
    return [numbers.same(case.answer, case.gold, options.tolerance) for case in cases]
