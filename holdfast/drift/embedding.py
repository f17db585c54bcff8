"""Check: embeddings by the champion's own encoder, by maximum mean discrepancy on random Fourier features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from holdfast.drift.finding import Finding

if TYPE_CHECKING:
    from holdfast.drift import settings
    from holdfast.drift.sample import Sample

_PAIRS = 1000
_AT_ONCE = 4_000_000  # entries of a block of permutations


def check(reference: Sample, window: Sample, options: settings.Embedding, seed: int) -> Finding:
    """Compare mean embeddings in the space of a Gaussian kernel; the null is a permutation of rows' features.

    The effect is the unbiased estimate of the squared MMD (Gretton et al. 2012, JMLR 13, 723-773, lemma 6), with the
    kernel exp(-|x - y|^2 / (2 s^2)), s the median distance of pairs of reference rows, approximated by random Fourier
    features (Rahimi and Recht 2007, NeurIPS 20). Time and memory grow with rows x features.
    """
    sides = [sample.at_most(options.most_rows, seed + i) for i, sample in enumerate((reference, window))]
    old, new = (_required(side) for side in sides)
    width = bandwidth(old, seed)
    mapped = fourier(np.concatenate([old, new]), width, options.features, seed)
    observed, null = permuted(mapped, len(new), options.permutations, seed)
    return Finding(
        check="embedding",
        measure="squared MMD",
        effect=observed,
        floor=options.mmd2,
        p=float((1 + np.sum(null >= observed)) / (1 + len(null))),
        n=len(new),
        reference_n=len(old),
        detail={"bandwidth": round(width, 4), "null's 95% point": round(float(np.quantile(null, 0.95)), 6)},
    )


def _required(sample: Sample) -> np.ndarray:
    assert sample.embeddings is not None
    return sample.embeddings


def bandwidth(embeddings: np.ndarray, seed: int) -> float:
    """Return the median distance between rows, over pairs drawn by `seed`; 1 where all rows are the same."""
    pairs = np.random.default_rng(seed).integers(0, len(embeddings), (2, _PAIRS))
    pairs = pairs[:, pairs[0] != pairs[1]]
    distances = np.linalg.norm(embeddings[pairs[0]] - embeddings[pairs[1]], axis=1)
    return float(np.median(distances)) or 1.0


def fourier(embeddings: np.ndarray, width: float, features: int, seed: int) -> np.ndarray:
    """Return random Fourier features, float32 [rows, features], whose inner products approximate the kernel."""
    frequencies = np.random.default_rng(seed).standard_normal((embeddings.shape[1], features // 2), dtype=np.float32)
    angles = embeddings.astype(np.float32) @ (frequencies / np.float32(width))
    scale = np.float32(np.sqrt(2 / features))
    mapped: np.ndarray = scale * np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    return mapped


def permuted(mapped: np.ndarray, n: int, permutations: int, seed: int) -> tuple[float, np.ndarray]:
    """Return the squared MMD of the last `n` rows against the rest, and of `permutations` random choices of n rows."""
    total = mapped.shape[0]
    squares, sums = np.einsum("ij,ij->i", mapped, mapped), mapped.sum(0, dtype=np.float64)
    last = np.zeros((1, total), np.float32)
    last[0, total - n :] = 1
    generator = np.random.default_rng(seed)
    values = [_mmd2(last, mapped, squares, sums)]
    block = max(1, _AT_ONCE // total)
    for first in range(0, permutations, block):
        chosen = np.zeros((min(block, permutations - first), total), np.float32)
        for row in chosen:
            row[generator.choice(total, n, replace=False)] = 1
        values.append(_mmd2(chosen, mapped, squares, sums))
    return float(values[0][0]), np.concatenate(values[1:])


def _mmd2(chosen: np.ndarray, mapped: np.ndarray, squares: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Return the unbiased squared MMD of every choice (a row of zeros and ones) against the rows not chosen.

    The mean of k(x, x') over distinct pairs of a side is (|sum of features|^2 - sum of squares) / (n (n - 1)).
    """
    n = float(chosen[0].sum())
    m = mapped.shape[0] - n
    own = (chosen @ mapped).astype(np.float64)
    rest = sums - own
    own_squares = (chosen @ squares).astype(np.float64)
    rest_squares = float(squares.sum(dtype=np.float64)) - own_squares
    within = (np.einsum("ij,ij->i", own, own) - own_squares) / (n * (n - 1))
    beyond = (np.einsum("ij,ij->i", rest, rest) - rest_squares) / (m * (m - 1))
    squared: np.ndarray = within + beyond - 2 * np.einsum("ij,ij->i", own, rest) / (n * m)
    return squared
