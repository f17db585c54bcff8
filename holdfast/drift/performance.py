"""Checks: performance where labels exist, and an estimate of it from the model's confidence where they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from holdfast.drift.finding import Finding, skipped

if TYPE_CHECKING:
    from holdfast.drift import settings
    from holdfast.drift.sample import Sample

_FEWEST = 20
_BINS = 10
_HOUR = 3600.0


def measured(reference: Sample, window: Sample, options: settings.Performance) -> Finding:
    """Compare accuracy on the window's labelled rows of the last `within` hours with that on the reference's.

    The rows are different ones, so the comparison is unpaired: the p-value is the one-sided score test of two
    proportions, the interval Newcombe's (1998, Statistics in Medicine 17, 873-890, method 10), both without a
    continuity correction.
    """
    from scipy.stats import norm

    before, after = right(reference), right(_recent(window, options.within))
    if min(len(before), len(after)) < _FEWEST:
        return skipped("performance", f"fewer than {_FEWEST} rows of the window or the reference have a label")
    was, now, n, m = before.mean(), after.mean(), len(after), len(before)
    pooled = (before.sum() + after.sum()) / (n + m)
    deviation = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    low, high = newcombe(int(before.sum()), m, int(after.sum()), n)
    return Finding(
        check="performance",
        measure="drop in accuracy",
        effect=float(was - now),
        floor=options.drop,
        p=float(norm.sf((was - now) / deviation)) if deviation > 0 else 1.0,
        n=n,
        reference_n=m,
        detail={
            "before": round(float(was), 4),
            "after": round(float(now), 4),
            "95% interval": f"{low:+.4f}..{high:+.4f}",
        },
    )


def right(sample: Sample, rows: np.ndarray | None = None) -> np.ndarray:
    """Return, of the rows not learned from that have a label and a prediction, whether they agree, as 0 and 1.

    `rows`, positions, says which rows to look at, all where it is not given.
    """
    chosen = slice(None) if rows is None else rows
    labels, predictions = sample.labels[chosen], sample.predictions[chosen]
    pairs = zip(labels, predictions, strict=True)
    known = np.array([label is not None and answer is not None for label, answer in pairs], dtype=bool)
    known &= sample.judging[chosen]
    agree: np.ndarray = labels[known] == predictions[known]
    return agree.astype(float)


def _recent(window: Sample, hours: float) -> Sample:
    """Return the rows of the last `hours` before the newest one; rows without a time count as recent."""
    if np.isnan(window.times).all():
        return window
    newest: float = np.nanmax(window.times)
    recent = ~(window.times < newest - hours * _HOUR)
    return window if recent.all() else window.take(recent)


def newcombe(right_before: int, m: int, right_after: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the two-sided interval of `right_before/m - right_after/n`, from Wilson's intervals of both."""
    was, now = right_before / m, right_after / n
    (low_was, high_was), (low_now, high_now) = wilson(right_before, m, confidence), wilson(right_after, n, confidence)
    low = was - now - np.hypot(was - low_was, high_now - now)
    high = was - now + np.hypot(high_was - was, now - low_now)
    return float(low), float(high)


def wilson(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion (1927, JASA 22, 209-212)."""
    from scipy.stats import norm

    z = norm.ppf((1 + confidence) / 2)
    share = hits / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return float(middle - reach), float(middle + reach)


def estimated(reference: Sample, window: Sample, options: settings.Estimate) -> Finding:
    """Estimate the window's accuracy from confidences alone, and compare it with the reference's accuracy.

    Each row counts as right with the accuracy that reference rows of like confidence have (ten groups of equal size):
    confidence-based performance estimation. It holds where the inputs change and what they mean does not; a label that
    changes its meaning at the same confidence is not seen. The p-value is Welch's one-sided test.
    """
    from scipy.stats import norm

    known = reference.judging & ~np.isnan(reference.confidences)
    known &= np.array([value is not None for value in reference.labels], dtype=bool)
    old, now = reference.take(known), window.confidences[~np.isnan(window.confidences)]
    if min(len(old), len(now)) < _FEWEST:
        return skipped("estimate", f"fewer than {_FEWEST} rows of the window or the reference have a confidence")
    before, after = _expected(old.confidences, (old.labels == old.predictions).astype(float), now)
    deviation = np.sqrt(before.var(ddof=1) / len(before) + after.var(ddof=1) / len(after))
    drop = float(before.mean() - after.mean())
    return Finding(
        check="estimate",
        measure="estimated drop in accuracy",
        effect=drop,
        floor=options.drop,
        p=float(norm.sf(drop / deviation)) if deviation > 0 else 1.0,
        n=len(now),
        reference_n=len(before),
        detail={"before": round(float(before.mean()), 4), "after": round(float(after.mean()), 4)},
    )


def _expected(old: np.ndarray, hits: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the accuracy of each row's confidence group, for the reference's rows and for the window's."""
    edges = np.unique(np.quantile(old, np.linspace(0, 1, _BINS + 1)[1:-1]))
    groups = np.searchsorted(edges, old, side="right")
    sizes = np.bincount(groups, minlength=len(edges) + 1)
    rates = np.bincount(groups, hits, minlength=len(edges) + 1) / np.maximum(sizes, 1)
    rates[sizes == 0] = hits.mean()
    return rates[groups], rates[np.searchsorted(edges, new, side="right")]
