"""Checks: shares of categories (labels, predictions, segments) by PSI, chi-square and Jensen-Shannon distance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from holdfast.drift.finding import Finding, skipped

if TYPE_CHECKING:
    from holdfast.drift import settings
    from holdfast.drift.sample import Sample

_DRAWS = 4000
_LEAST = 5  # expected rows per cell below which chi-square's distribution is drawn instead
_FEWEST = 20
_MISSING = "(none)"


@dataclass(frozen=True)
class Counts:
    """How often each category occurs in the reference (`old`) and in the window (`new`)."""

    names: tuple[str, ...]
    old: np.ndarray
    new: np.ndarray


def count(old: np.ndarray, new: np.ndarray) -> Counts:
    """Return the counts of two columns of categories, None counting as a category of its own."""
    columns = [np.array([_MISSING if value is None else value for value in column], dtype=str) for column in (old, new)]
    names, codes = np.unique(np.concatenate(columns), return_inverse=True)
    counted = [np.bincount(part, minlength=len(names)) for part in (codes[: len(old)], codes[len(old) :])]
    return Counts(tuple(str(name) for name in names), *counted)


def psi(counts: Counts) -> float:
    """Return the population stability index, sum (q - p) ln(q / p); a count of 0 is taken for one half."""
    old, new = (np.maximum(side, 0.5) / side.sum() for side in (counts.old, counts.new))
    return float(np.sum((new - old) * np.log(new / old)))


def noise(counts: Counts) -> float:
    """Return what PSI is on average where nothing changed: (categories - 1) (1/n + 1/m).

    Source: Yurdakul 2018, Statistical properties of population stability index (Western Michigan University): PSI is
    then distributed like (1/n + 1/m) times a chi-square variable with as many degrees of freedom.
    """
    return float((len(counts.names) - 1) * (1 / counts.old.sum() + 1 / counts.new.sum()))


def jensen_shannon(counts: Counts) -> float:
    """Return the Jensen-Shannon distance, base 2: 0 for equal shares, 1 for disjoint ones."""
    from scipy.spatial.distance import jensenshannon

    return float(jensenshannon(counts.old / counts.old.sum(), counts.new / counts.new.sum(), base=2))


def chi_square(counts: Counts, seed: int) -> float:
    """Return the p-value of the chi-square test that both sides have the same shares.

    Where a cell expects fewer than five rows the statistic's distribution is drawn, with both sides' totals and the
    categories' totals held fixed, and the p-value is (1 + draws as large) / (1 + draws), exact up to the drawing.
    """
    from scipy.stats import chi2

    both, n = counts.old + counts.new, int(counts.new.sum())
    if len(both) < 2:
        return 1.0
    observed = _statistic(counts.new, both, n)
    if (both * min(n, both.sum() - n) / both.sum()).min() >= _LEAST:
        return float(chi2.sf(observed, len(both) - 1))
    drawn = np.random.default_rng(seed).multivariate_hypergeometric(both, n, size=_DRAWS, method="marginals")
    return float((1 + np.sum(_statistic(drawn, both, n) >= observed * (1 - 1e-12))) / (1 + _DRAWS))


def _statistic(new: np.ndarray, both: np.ndarray, n: int) -> np.ndarray:
    """Return Pearson's statistic of the two-row table whose second row is `new` and whose column sums are `both`."""
    total = both.sum()
    expected = both * (n / total)
    statistic: np.ndarray = ((new - expected) ** 2 / expected).sum(-1) * (total / (total - n))
    return statistic


def check(name: str, old: np.ndarray, new: np.ndarray, options: settings.Shares, seed: int) -> Finding:
    """Compare two columns of categories, leaving out None; skipped where either side has fewer than 20 values."""
    old, new = (column[np.array([value is not None for value in column], dtype=bool)] for column in (old, new))
    if min(len(old), len(new)) < _FEWEST:
        return skipped(name, f"fewer than {_FEWEST} rows of the window or the reference have a {name}")
    return _finding(name, {name: count(old, new)}, options, seed)


def segments(reference: Sample, window: Sample, options: settings.Shares, seed: int) -> Finding:
    """Compare the shares of every segment column's values; the p-value is Bonferroni's over the columns."""
    columns = {
        name: count(reference.segments[name], window.segments[name])
        for name in window.segments
        if any(value is not None for side in (reference, window) for value in side.segments[name])
    }
    known = {name: counts for name, counts in columns.items() if set(counts.names) - {_MISSING} and _known(counts)}
    if not known:
        return skipped("segments", "neither side has a segment's column")
    return _finding("segments", known, options, seed)


def _known(counts: Counts) -> bool:
    """Say whether both sides have values: a column that one side lacks altogether says nothing."""
    named = [i for i, name in enumerate(counts.names) if name != _MISSING]
    return bool(counts.old[named].sum() and counts.new[named].sum())


def _finding(check: str, columns: dict[str, Counts], options: settings.Shares, seed: int) -> Finding:
    effects = {name: max(0.0, psi(counts) - noise(counts)) for name, counts in columns.items()}
    tests = {name: chi_square(counts, seed) for name, counts in columns.items()}
    most = max(effects, key=lambda name: effects[name])
    counts = columns[most]
    return Finding(
        check=check,
        measure="PSI, less its noise",
        effect=effects[most],
        floor=options.psi,
        p=min(1.0, len(tests) * min(tests.values())),
        n=int(counts.new.sum()),
        reference_n=int(counts.old.sum()),
        detail={
            "PSI": round(psi(counts), 4),
            "Jensen-Shannon distance": round(jensen_shannon(counts), 4),
            "chi-square p": round(tests[most], 6),
            "most": most,
            "grew": _grew(counts),
        },
    )


def _grew(counts: Counts) -> str:
    old, new = counts.old / counts.old.sum(), counts.new / counts.new.sum()
    i = int(np.argmax(new - old))
    return f"{counts.names[i]}: {old[i]:.1%} -> {new[i]:.1%}"
