"""Linear centred kernel alignment: how alike two models represent the same texts."""

from __future__ import annotations

import numpy as np


def linear_cka(first: np.ndarray, second: np.ndarray) -> float | None:
    """Return the linear CKA of two feature arrays [items, features], in [0, 1]; 1: alike up to rotation and scale.

    ||Y'X||_F^2 / (||X'X||_F ||Y'Y||_F) with X and Y centred over items, which equals HSIC(K, L) / sqrt(HSIC(K, K)
    HSIC(L, L)) for linear kernels (Kornblith et al. 2019, arXiv 1905.00414, equations 3-5). None where either array is
    constant over items, for which CKA is undefined.
    """
    x, y = (features.astype(np.float64) - features.mean(0, dtype=np.float64) for features in (first, second))
    size = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(y.T @ x) ** 2 / size) if size > 0 else None
