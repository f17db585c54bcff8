"""How sure a mean over seeds and items is: a two-way crossed random-effects interval, closed form.

Every seed answers every item, so the differences form a table D [S seeds, n items], taken as

    D[s, i] = mu + a_s + b_i + e_si        a: the seed's effect, b: the item's, e: both together

With the mean squares MS_a = n sum_s (D[s, .] - D)^2 / (S - 1), MS_b = S sum_i (D[., i] - D)^2 / (n - 1) and MS_e, that
of what neither explains, the variance of the mean is estimated without bias by (MS_a + MS_b - MS_e) / (S n) (Searle,
Casella and McCulloch 1992, "Variance Components", chapter 4), and its degrees of freedom by Satterthwaite 1946
(Biometrics Bulletin 2, 110-114). The interval is mean -+ t se. It stands in for a bootstrap over seeds and items: with
five seeds a bootstrap of seeds is too narrow by sqrt(4/5) and knows no t, and one of both counts e three times (Owen
2007, "The pigeonhole bootstrap", arXiv 0712.1111).

Two rules are ours. The estimate is never below MS_a / (S n) or MS_b / (S n), which it is by chance only. And items vary
as if two more had been seen, one better by 1 at every seed and one worse (in the spirit of Agresti and Min 2005,
Statistics in Medicine 24, 729-740): no differences at all on a hundred items are no proof that there never will be.
With one seed nothing is known of seeds: the interval is over items alone. `tests/comparison` measures the coverage.

The second rule, like the bound at 1, is of scores, which lie between 0 and 1 and mostly do not change at all. What has
no bound (log-likelihoods, in nats) differs on every item, and so tells itself how much items vary: it gets neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from holdfast.errors import BadInput


@dataclass(frozen=True)
class Interval:
    """A mean with its two-sided interval; `freedom` are the degrees of freedom of its t quantile."""

    mean: float
    low: float
    high: float
    freedom: float

    def document(self) -> dict[str, float]:
        """Return it as JSON-able values, rounded."""
        return {name: round(float(value), 6) + 0.0 for name, value in vars(self).items()}


def crossed(
    differences: Sequence[Sequence[float]] | np.ndarray, confidence: float = 0.95, *, bounded: bool = True
) -> Interval:
    """Return the interval of the mean of D [seeds, items], two-sided at `confidence`.

    Those of scores are `bounded`: within [-1, 1], with the two items more; those of log-likelihoods are not. Raises
    `BadInput` where there are fewer than two items, or a seed lacks some.
    """
    from scipy.stats import t

    table = _table(differences)
    variance, freedom = _variance(table, (1.0, -1.0) if bounded else ())
    mean, half = float(table.mean()), float(t.ppf((1 + confidence) / 2, freedom)) * variance**0.5
    ends = (max(-1.0, mean - half), min(1.0, mean + half)) if bounded else (mean - half, mean + half)
    return Interval(mean, *ends, freedom)


def _variance(table: np.ndarray, more: tuple[float, ...]) -> tuple[float, float]:
    """Return the variance of the mean and its degrees of freedom; items vary as if those of `more` were there too."""
    seeds, items = table.shape
    by_item = _mean_square_of_items(table, more)
    if seeds == 1:
        return by_item / items, items - 1.0
    rows, columns = table.mean(1, keepdims=True), table.mean(0, keepdims=True)
    by_seed = items * float(((rows - table.mean()) ** 2).sum()) / (seeds - 1)
    rest_freedom = (seeds - 1) * (items - 1)
    rest = float(((table - rows - columns + table.mean()) ** 2).sum()) / rest_freedom
    total = by_seed + by_item - rest
    largest = max((by_seed, seeds - 1.0), (by_item, items - 1.0))
    if total <= largest[0]:
        return largest[0] / (seeds * items), largest[1]
    spread = by_seed**2 / (seeds - 1) + by_item**2 / (items - 1) + rest**2 / rest_freedom
    return total / (seeds * items), total**2 / spread


def _mean_square_of_items(table: np.ndarray, more: tuple[float, ...]) -> float:
    """Return MS_b with the items `more`."""
    columns: np.ndarray = np.append(table.mean(0), more)
    return len(table) * float(((columns - columns.mean()) ** 2).sum()) / (len(columns) - 1)


def _table(differences: Any) -> np.ndarray:
    lengths = {len(row) for row in differences}
    if len(lengths) != 1 or min(lengths) < 2:
        raise BadInput("every seed must have answered the same items, at least two", expected="a full table")
    table: np.ndarray = np.asarray(differences, dtype=float)
    return table
