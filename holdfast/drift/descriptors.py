"""Check: text descriptors, numbers that say what a text looks like in whatever language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from holdfast.drift.finding import Finding

if TYPE_CHECKING:
    from holdfast.drift import settings
    from holdfast.drift.sample import Sample

NAMES = ("characters", "words", "word length", "capitals", "digits", "marks", "beyond ASCII")


def describe(texts: Sequence[str]) -> np.ndarray:
    """Return the descriptors of every text, float32 [texts, len(NAMES)].

    Numbers of characters and of words, mean length of a word, and, as shares of the characters that are not space:
    capital letters, digits, what is neither letter nor digit, and letters beyond ASCII.
    """
    described: np.ndarray = np.array([_describe(text) for text in texts], dtype=np.float32)
    return described.reshape(len(texts), len(NAMES))


def _describe(text: str) -> tuple[float, ...]:
    words = text.split()
    solid = "".join(words)
    size = max(len(solid), 1)
    capitals = sum(map(str.isupper, solid))
    digits = sum(map(str.isdigit, solid))
    marks = size - sum(map(str.isalnum, solid))
    beyond = 0 if solid.isascii() else sum(not c.isascii() for c in solid if c.isalpha())
    length = len(solid) / max(len(words), 1)
    return len(text), len(words), length, capitals / size, digits / size, marks / size, beyond / size


def check(reference: Sample, window: Sample, options: settings.Descriptors) -> Finding:
    """Compare every descriptor by the two-sample Kolmogorov-Smirnov test; the largest distance is the effect.

    The p-value is the least of the descriptors' times their number (Bonferroni). The test is conservative for
    descriptors with ties (Noether 1963, Journal of the American Statistical Association 58, 653-659).
    """
    from scipy.stats import ks_2samp

    tests = [ks_2samp(window.descriptors[:, i], reference.descriptors[:, i], method="asymp") for i in range(len(NAMES))]
    worst = max(range(len(NAMES)), key=lambda i: tests[i].statistic)
    moved = {name: round(float(test.statistic), 4) for name, test in zip(NAMES, tests, strict=True)}
    return Finding(
        check="descriptors",
        measure="Kolmogorov-Smirnov distance",
        effect=float(tests[worst].statistic),
        floor=options.distance,
        p=min(1.0, len(NAMES) * min(float(test.pvalue) for test in tests)),
        n=len(window),
        reference_n=len(reference),
        detail={**moved, "most": NAMES[worst]},
    )
