"""Unlabelled texts in batches of their own, drawn from the seed and the step alone, so that a resume repeats them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def generator(seed: int, step: int, purpose: int) -> np.random.Generator:
    """Return the source of randomness for one purpose at one step."""
    import numpy as np

    return np.random.default_rng((seed, step, purpose))


def draw(count: int, batch: int, source: np.random.Generator) -> list[int]:
    """Return `batch` different numbers below `count`, or all where there are fewer."""
    return [int(i) for i in source.choice(count, min(batch, count), replace=False)]


def gold(tasks: Sequence[str]) -> list[int]:
    """Return the positions of the rows to be learned."""
    return [position for position, task in enumerate(tasks) if not task]
