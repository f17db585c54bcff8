"""Check: text content, by how well a classifier tells the window's texts from the reference's."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from holdfast.drift.finding import Finding

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from holdfast.drift import settings
    from holdfast.drift.sample import Sample

_STEPS = 40


@dataclass(frozen=True)
class Told:
    """How the classifier told the rows apart: a finding, and of each window row how unlike the reference it is.

    `strangeness` [n] is the share of reference rows of the same half that look less like the window than the row.
    """

    finding: Finding
    strangeness: np.ndarray


def check(reference: Sample, window: Sample, options: settings.Content, seed: int) -> Told:
    """Tell the rows apart by logistic regression on hashed n-grams, each half by the model of the other half.

    The effect is the mean area under the ROC curve (AUC) of the two halves. Given the other half, the rows of a half
    are exchangeable where nothing drifted, so its AUC is the Mann-Whitney statistic with mean 1/2 and variance
    (n + m + 1) / (12 n m) (Mann and Whitney 1947, Annals of Mathematical Statistics 18, 50-60). The halves' z-scores
    are dependent, so their mean is compared with a variance of 1, which it cannot exceed. The cut-off thus follows
    from the sizes: with 500 rows against 5000 an AUC of 0.55 has a one-sided p-value of about 0.005.
    """
    halves = [_halves(sample, options.most_rows, seed + i) for i, sample in enumerate((reference, window))]
    areas, scores, strangeness = [], [], np.full(len(window), np.nan)
    for mine, others in ((0, 1), (1, 0)):
        old, new = halves[0][mine], halves[1][mine]
        model = _fit(reference.terms[halves[0][others]], window.terms[halves[1][others]])
        old_scores, new_scores = (np.asarray(x @ model) for x in (reference.terms[old], window.terms[new]))
        area = auc(old_scores, new_scores)
        areas.append(area)
        scores.append((area - 0.5) / np.sqrt((len(old) + len(new) + 1) / (12 * len(old) * len(new))))
        strangeness[new] = np.searchsorted(np.sort(old_scores), new_scores) / len(old)
    return Told(_finding(areas, scores, halves, options), strangeness)


def _finding(
    areas: list[float], scores: list[float], halves: list[list[np.ndarray]], options: settings.Content
) -> Finding:
    from scipy.stats import norm

    return Finding(
        check="content",
        measure="AUC of the domain classifier",
        effect=float(np.mean(areas)),
        floor=options.auc,
        p=float(norm.sf(np.mean(scores))),
        n=sum(map(len, halves[1])),
        reference_n=sum(map(len, halves[0])),
        detail={"first half": round(areas[0], 4), "second half": round(areas[1], 4)},
    )


def auc(lower: np.ndarray, higher: np.ndarray) -> float:
    """Return the probability that a score of `higher` is above one of `lower`, ties counting half."""
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([lower, higher]))[len(lower) :].sum()
    return float((ranks - len(higher) * (len(higher) + 1) / 2) / (len(lower) * len(higher)))


def _halves(sample: Sample, most: int, seed: int) -> list[np.ndarray]:
    order: np.ndarray = np.random.default_rng(seed).permutation(len(sample))[:most]
    return [order[::2], order[1::2]]


def _fit(old: csr_matrix, new: csr_matrix) -> np.ndarray:
    """Return the weights of a logistic regression of new against old, both sides weighing the same.

    An n-gram that only one row has tells nothing about other rows: its weight is left at 0, which saves most of them.
    """
    from scipy.sparse import vstack
    from sklearn.linear_model import LogisticRegression

    rows = vstack([old, new], format="csr")
    shared = np.flatnonzero(np.bincount(rows.indices, minlength=rows.shape[1]) > 1)
    weights: np.ndarray = np.zeros(rows.shape[1])
    if len(shared):
        model = LogisticRegression(C=10, class_weight="balanced", max_iter=_STEPS, tol=1e-3, solver="lbfgs")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # few steps are enough for a ranking
            model.fit(rows[:, shared], np.repeat([0, 1], [old.shape[0], new.shape[0]]))
        weights[shared] = model.coef_[0]
    return weights
