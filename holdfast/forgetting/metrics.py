"""Forgetting metrics on predictions, probabilities and scores per task: numpy arrays, natural logarithms."""

from __future__ import annotations

import numpy as np


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return the logarithm of the softmax over the last axis, in float64; shape as given."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    values: np.ndarray = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return values


def accuracy(gold: np.ndarray, predicted: np.ndarray) -> float:
    """Return the share of items [n] predicted right."""
    return float(np.mean(gold == predicted))


def macro_f1(gold: np.ndarray, predicted: np.ndarray, labels: int) -> float:
    """Return the mean over labels that occur in `gold` or `predicted` of F1 = 2 TP / (2 TP + FP + FN).

    `gold` and `predicted` hold label indices below `labels`, shape [n]; a prediction outside (-1) is wrong for all.
    """
    right = np.bincount(gold[gold == predicted], minlength=labels)
    seen = np.bincount(gold, minlength=labels) + np.bincount(predicted[predicted >= 0], minlength=labels)
    return float(np.mean(2 * right[seen > 0] / seen[seen > 0]))


def nll(gold_log_probabilities: np.ndarray) -> float:
    """Return the mean negative log-likelihood in nats, from the log-probability of each item's gold label [n]."""
    return float(-np.mean(gold_log_probabilities))


def flips(before: np.ndarray, after: np.ndarray) -> tuple[int, int]:
    """Return (positive, negative) flips of two arrays of correctness [n]: wrong then right, and right then wrong."""
    return int(np.sum(~before & after)), int(np.sum(before & ~after))


def forward_kl(start: np.ndarray, tuned: np.ndarray) -> float:
    """Return the mean over items of KL(start || tuned) in nats, from two arrays of logits [n, labels].

    Forward KL on the new task's inputs predicts forgetting (RL's Razor, arXiv 2509.04259).
    """
    first, second = log_softmax(start), log_softmax(tuned)
    return float(np.mean(np.sum(np.exp(first) * (first - second), axis=-1)))


def chance(counts: dict[str, int], labels: int) -> float:
    """Return the accuracy of knowing nothing: the larger of 1/`labels` and the share of the most frequent label."""
    return max(1 / labels, max(counts.values()) / sum(counts.values()))


def retained(before: float, after: float, chance: float) -> float | None:
    """Return (after - chance) / (before - chance), the retained accuracy; None where `before` is not above chance."""
    return (after - chance) / (before - chance) if before > chance else None


def average_accuracy(scores: np.ndarray) -> float:
    """Return ACC, the mean of the last row of `scores` [stages, tasks] (Lopez-Paz and Ranzato 2017)."""
    return float(np.mean(scores[-1]))


def backward_transfer(scores: np.ndarray, learned: np.ndarray) -> float:
    """Return BWT over old tasks: the mean of R[T, j] - R[learned[j], j]; negative means forgetting (GEM, 2017).

    `scores` is R [stages, old tasks] and `learned` [old tasks] the stage after which each task had been learned.
    """
    return float(np.mean(scores[-1] - scores[learned, np.arange(scores.shape[1])]))


def forward_transfer(scores: np.ndarray, learned: np.ndarray, baseline: np.ndarray) -> float:
    """Return FWT: the mean of R[learned[j] - 1, j] - b[j], what was there before a task was learned (GEM, 2017).

    `scores` is R [stages, tasks]; every `learned` is at least 1; `baseline` is b [tasks], the score of knowing nothing.
    """
    return float(np.mean(scores[learned - 1, np.arange(scores.shape[1])] - baseline))


def forgetting(scores: np.ndarray) -> float:
    """Return F over old tasks: the mean of max over earlier stages of R[l, j], minus R[T, j] (Chaudhry et al. 2018).

    `scores` is R [stages, old tasks] with at least two stages. It is at least -BWT.
    """
    return float(np.mean(scores[:-1].max(0) - scores[-1]))
