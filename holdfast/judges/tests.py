"""The program in the answer passes the row's `tests` in the sandbox.

That S3FT judges programs so is inferred: its prompts show three tests, its judge's rule could not be read.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from holdfast import choices, progress
from holdfast.errors import BadInput
from holdfast.generation import metrics, sandbox
from holdfast.judges._case import Ask, Case
from holdfast.rows import Row


class Options(choices.Options):
    """`seconds` of processor time, and MiB of `memory`, that a program may use."""

    seconds: float = Field(5.0, gt=0)
    memory: int = Field(512, ge=64)


def check(rows: Sequence[Row], options: Options) -> None:
    """Raise `BadInput` naming the first row that has no tests, or whose gold answer does not pass them."""
    for number, row in enumerate(rows, 1):
        if not "".join(row.get("tests") or "").strip():
            raise BadInput("the row has no tests to judge by", row=number, key="tests")
        if not metrics.passes(str(row["answer"]), row["tests"], _limits(options)):
            raise BadInput("the gold answer does not pass the row's own tests", row=number, key="tests")


def judge(cases: Sequence[Case], options: Options, ask: Ask) -> list[bool]:
    """Return whether each program passes."""
    verdicts = []
    for case in cases:
        verdicts.append(metrics.passes(case.answer, case.row["tests"], _limits(options)))
        progress.report("judge", len(verdicts), len(cases))
    return verdicts


def _limits(options: Options) -> sandbox.Limits:
    return sandbox.Limits(seconds=options.seconds, wall=4 * options.seconds, memory=options.memory << 20)
