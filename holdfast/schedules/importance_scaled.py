"""Dynamic parameter adjustment: rates that follow what matters to the task now, against what matters in general.

importance-scaled: true
importance-scaled: {memory: 0.9, power: 0.5, limit: 4}

Part of the wider reading of S3FT; no source gives a formula: inferred. Groups are those of the optimiser (a depth, with
or without weight decay). The task's importance of a group is a running mean of its squared gradients over updates, the
general importance that of the assessment (on remembered `train` rows); each is divided by its mean over all groups.
"""

from collections.abc import Sequence

from pydantic import Field

from holdfast import choices

SHORTHAND = "power"


class Options(choices.Options):
    """`memory` of the running mean per update, `power` of the ratio, and the most that a rate is multiplied by (or
    divided)."""

    memory: float = Field(0.9, ge=0, lt=1)
    power: float = Field(0.5, gt=0)
    limit: float = Field(4.0, gt=1)


def adjust(task: Sequence[float], general: Sequence[float], options: Options) -> list[float]:
    """Return what each group's rate is multiplied by: (task / general) ** power, within [1 / limit, limit].

    Where one of the two is 0 the limit holds; where both are, the rate stays.
    """
    found = []
    for ours, old in zip(task, general, strict=True):
        ratio = ours / old if old > 0 else (float("inf") if ours > 0 else 1.0)
        found.append(min(max(ratio**options.power, 1 / options.limit), options.limit))
    return found
