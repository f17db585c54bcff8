"""What a check found, and the verdict over all checks of a window."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from holdfast.records import Record


class Finding(Record):
    """What one check found.

    `effect`, an effect size called `measure`, must reach `floor`, and `p` the `level` that Holm's procedure leaves it,
    for the check to have `drifted`. `n` and `reference_n` are the rows it looked at. `detail` holds the numbers behind
    it; where the check could not be made, `skipped` says why and nothing else counts.
    """

    check: str
    measure: str
    effect: float
    floor: float
    p: float
    n: int
    reference_n: int
    level: float | None = None
    drifted: bool = False
    skipped: str | None = None
    detail: dict[str, float | str] = Field(default_factory=dict)


def skipped(check: str, why: str) -> Finding:
    """Return the finding of a check that could not be made."""
    return Finding(check=check, measure="", effect=0, floor=0, p=1, n=0, reference_n=0, skipped=why)


def judge(findings: Sequence[Finding], family_wise: float) -> tuple[Finding, ...]:
    """Return the findings with their levels and verdicts, in the order given.

    Holm's step-down procedure (Holm 1979, Scandinavian Journal of Statistics 6, 65-70): of m checks that were made, the
    k-th smallest p-value is compared with family_wise / (m - k + 1), until one fails. With no drift at all, some check
    passes its test in at most a share `family_wise` of windows, however the checks depend on each other; the floors
    only lower that.
    """
    made = sorted((i for i, finding in enumerate(findings) if not finding.skipped), key=lambda i: findings[i].p)
    judged, passing = list(findings), True
    for rank, i in enumerate(made):
        level = family_wise / (len(made) - rank)
        passing = passing and findings[i].p <= level
        drifted = passing and findings[i].effect >= findings[i].floor
        judged[i] = findings[i].model_copy(update={"level": level, "drifted": drifted})
    return tuple(judged)
