"""Replay: the training rows, and beside them rows of remembered tasks, scored by the heads of those tasks."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from holdfast import choices

SHORTHAND = "share"
USES_REMEMBERED = True


class Options(choices.Options):
    """`share` of every epoch's rows that are remembered ones, evenly split over the remembered tasks."""

    share: float = Field(0.25, gt=0, lt=1)


def draw(tasks: Sequence[str], epoch: int, seed: int, options: Options) -> list[int]:
    """Return the positions of all rows to be learned and of share / (1 - share) as many remembered ones.

    Every task's rows are walked through in shuffled order from epoch to epoch, so that none comes twice before all
    came once. The rows of an epoch are mixed over its batches.
    """
    gold = [position for position, task in enumerate(tasks) if not task]
    names = sorted({task for task in tasks if task})
    wanted = round(len(gold) * options.share / (1 - options.share))
    drawn: list[int] = []
    for number, name in enumerate(names):
        rows = [position for position, task in enumerate(tasks) if task == name]
        count = wanted // len(names) + (number < wanted % len(names))
        drawn += _walk(rows, epoch * count, count, (seed, number))
    return gold + drawn


def _walk(rows: list[int], first: int, count: int, seed: tuple[int, int]) -> list[int]:
    """Return steps `first` to `first + count` of an endless walk through `rows`, shuffled anew on every round."""
    import numpy as np

    found: list[int] = []
    for turn in range(first // len(rows), (first + count - 1) // len(rows) + 1 if count else 0):
        order = np.random.default_rng((*seed, turn)).permutation(len(rows))
        start, stop = max(0, first - turn * len(rows)), first + count - turn * len(rows)
        found += [rows[i] for i in order[start:stop]]
    return found
