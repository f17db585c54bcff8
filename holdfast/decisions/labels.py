"""Which rows are worth labelling most: those that the model is unsure of, and unlike each other."""

from __future__ import annotations

import numpy as np

_UNSURE = 10  # how many times as many unsure rows are looked at as are chosen


def worth_labelling(probabilities: np.ndarray, embeddings: np.ndarray | None, count: int) -> list[int]:
    """Return the positions of at most `count` rows, those worth most first.

    `probabilities` [n, labels], `embeddings` [n, d] or None. Of the rows with the least margin between the two
    likeliest labels (Scheffer et al. 2001, IDA, 309-318), ten times `count`, the least sure one is taken, then again
    and again the one farthest from all taken (greedy k-center: Sener and Savarese 2018, ICLR), by cosine; without
    embeddings the least sure ones.
    """
    n = len(probabilities)
    if n == 0 or count < 1:
        return []
    best = np.sort(probabilities, axis=1)[:, ::-1]
    margins = best[:, 0] - (best[:, 1] if best.shape[1] > 1 else 0.0)
    unsure = np.argsort(margins, kind="stable")[: _UNSURE * count]
    if embeddings is None:
        return [int(i) for i in unsure[:count]]
    points = embeddings[unsure] / np.maximum(np.linalg.norm(embeddings[unsure], axis=1, keepdims=True), 1e-12)
    chosen = [0]
    nearest = 1 - points @ points[0]
    while len(chosen) < min(count, len(unsure)):
        nearest[chosen] = -1
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, 1 - points @ points[chosen[-1]])
    return [int(unsure[i]) for i in chosen]
