"""The rows that importance is measured on: label-balanced, drawn with a seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from holdfast.errors import BadInput

if TYPE_CHECKING:
    from holdfast.rows import Row

FEWEST = 2


def balanced(rows: Sequence[Row], labels: tuple[str, ...], examples: int, seed: int, dataset: str) -> list[Row]:
    """Return at most `examples` rows, as many of each label as can be; a label with too few leaves room to the others.

    Raises `BadInput` naming the dataset and the label when a label has fewer than two rows, and when `examples` is
    fewer than two for each label.
    """
    if examples < FEWEST * len(labels):
        raise BadInput(
            f"{examples} examples are too few to measure importance over {len(labels)} labels",
            key="assess.examples",
            expected=f"at least {FEWEST * len(labels)}, {FEWEST} for each label",
        )
    groups = {label: [row for row in rows if str(row["label"]) == label] for label in labels}
    for label, group in groups.items():
        if len(group) < FEWEST:
            raise BadInput(
                f"the label `{label}` has {len(group)} rows in {dataset}: too few to measure importance",
                key="assess.examples",
                expected=f"at least {FEWEST} rows of each label",
            )
    generator = random.Random(seed)
    shuffled = [generator.sample(group, len(group)) for group in groups.values()]
    return [row for group, count in zip(shuffled, _quotas(shuffled, examples), strict=True) for row in group[:count]]


def any_of(rows: Sequence[Row], examples: int, seed: int, dataset: str) -> list[Row]:
    """Return at most `examples` rows in random order; raise `BadInput` where the dataset has fewer than two."""
    if len(rows) < FEWEST:
        what = f"{dataset} has {len(rows)} rows: too few to measure importance"
        raise BadInput(what, key="assess.examples", expected=f"at least {FEWEST}")
    return random.Random(seed).sample(list(rows), min(examples, len(rows)))


def _quotas(groups: list[list[Row]], examples: int) -> list[int]:
    """Return how many to take of each group: one at a time in turn while it lasts, so that no label is ahead by two."""
    counts = [0] * len(groups)
    while sum(counts) < examples:
        open_groups = [i for i, group in enumerate(groups) if counts[i] < len(group)]
        if not open_groups:
            break
        counts[min(open_groups, key=lambda i: counts[i])] += 1
    return counts
