"""Two versions on the same items, item by item: predictions, flips, and what follows from them for one task."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from holdfast.forgetting import intervals, metrics

_DIGITS = 6  # of log-probabilities and summary numbers: well below what bf16 resolves


@dataclass(frozen=True)
class Scores:
    """What one version says about n items: the predicted label and the log-probability of the gold label of each."""

    predicted: np.ndarray
    gold_log_probability: np.ndarray

    @classmethod
    def read(cls, logits: np.ndarray, labels: tuple[str, ...], gold: list[str]) -> Scores:
        """Return the scores of logits [n, labels] against gold labels; one unknown to the head has probability 0."""
        log_probabilities = metrics.log_softmax(logits)
        columns = [labels.index(label) if label in labels else None for label in gold]
        values = [-np.inf if c is None else row[c] for row, c in zip(log_probabilities, columns, strict=True)]
        return cls(np.array(labels)[logits.argmax(-1)], np.array(values))

    @classmethod
    def of_majority(cls, counts: dict[str, int], labels: tuple[str, ...], gold: list[str]) -> Scores:
        """Return the scores of knowing only how often each label occurs in training (add-one smoothed)."""
        frequencies = np.array([counts.get(label, 0) + 1 for label in labels], dtype=float)
        return cls.read(np.tile(np.log(frequencies), (len(gold), 1)), labels, gold)


@dataclass(frozen=True)
class Comparison:
    """A task's items before and after; `baseline` says what `before` is, `kl` is KL(start || tuned) or None."""

    name: str
    head: str
    labels: tuple[str, ...]
    ids: list[str]
    gold: list[str]
    before: Scores
    after: Scores
    baseline: str = "start"
    kl: float | None = None

    @property
    def metric(self) -> str:
        """The metric in words."""
        return "accuracy"

    @property
    def n(self) -> int:
        """The number of items."""
        return len(self.gold)

    @cached_property
    def right_before(self) -> np.ndarray:
        """Which items were right before [n]."""
        right: np.ndarray = self.before.predicted == np.array(self.gold)
        return right

    @cached_property
    def right_after(self) -> np.ndarray:
        """Which items are right after [n]."""
        right: np.ndarray = self.after.predicted == np.array(self.gold)
        return right

    @cached_property
    def flips(self) -> tuple[int, int]:
        """Positive and negative flips."""
        return metrics.flips(self.right_before, self.right_after)

    @property
    def drop(self) -> float:
        """The paired drop in accuracy: negative minus positive flips over items."""
        positive, negative = self.flips
        return (negative - positive) / self.n

    def drop_upper(self, confidence: float) -> float:
        """Return the one-sided upper bound of the drop."""
        positive, negative = self.flips
        return float(intervals.drop_upper(negative, positive, self.n, confidence))

    def gain_lower(self, confidence: float) -> float:
        """Return the one-sided lower bound of the gain."""
        return -self.drop_upper(confidence)

    def drop_lower(self, confidence: float) -> float:
        """Return the one-sided lower bound of the drop."""
        positive, negative = self.flips
        return float(intervals.drop_lower(negative, positive, self.n, confidence))

    def gain_interval(self, confidence: float) -> tuple[float, float]:
        """Return the two-sided interval of the gain."""
        positive, negative = self.flips
        low, high = intervals.drop_interval(
            positive, negative, self.n, confidence
        )  # a gain is a drop with flips swapped
        return float(low), float(high)

    def items(self) -> list[dict[str, Any]]:
        """Return one JSON-able row per item."""
        before, after = self.before, self.after
        return [
            {
                "id": self.ids[i],
                "label": self.gold[i],
                "before": str(before.predicted[i]),
                "after": str(after.predicted[i]),
                "before_log_probability": rounded(float(before.gold_log_probability[i])),
                "after_log_probability": rounded(float(after.gold_log_probability[i])),
                "before_correct": bool(self.right_before[i]),
                "after_correct": bool(self.right_after[i]),
            }
            for i in range(self.n)
        ]

    def summary(self, confidence: float, seed: int) -> dict[str, Any]:
        """Return accuracy, macro F1 and NLL before and after with intervals of the changes, flips and confusions."""
        positive, negative = self.flips
        before, after = float(np.mean(self.right_before)), float(np.mean(self.right_after))
        chance = metrics.chance({label: self.gold.count(label) for label in set(self.gold)}, len(self.labels))
        retained = metrics.retained(before, after, chance)
        return {
            "name": self.name,
            "head": self.head,
            "baseline": self.baseline,
            "n": self.n,
            "confidence": confidence,
            "accuracy": change(before, after, self.gain_interval(confidence)),
            "macro_f1": self._macro_f1(confidence, seed),
            "nll": self._nll(confidence, seed),
            "positive_flips": positive,
            "negative_flips": negative,
            "mcnemar_p": rounded(intervals.mcnemar(negative, positive)),
            "chance": rounded(chance),
            "retained": None if retained is None else rounded(retained),
            "confusion": {"before": self._confusion(self.before), "after": self._confusion(self.after)},
        }

    def _macro_f1(self, confidence: float, seed: int) -> dict[str, Any]:
        gold, before, after = (
            self._indices(names) for names in (self.gold, self.before.predicted, self.after.predicted)
        )
        size = len(self.labels)

        def difference(i: np.ndarray) -> float:
            return metrics.macro_f1(gold[i], after[i], size) - metrics.macro_f1(gold[i], before[i], size)

        interval = intervals.bootstrap(difference, self.n, confidence, seed)
        return change(metrics.macro_f1(gold, before, size), metrics.macro_f1(gold, after, size), interval)

    def _nll(self, confidence: float, seed: int) -> dict[str, Any]:
        before, after = self.before.gold_log_probability, self.after.gold_log_probability
        rise = before - after
        interval = intervals.bootstrap(lambda i: float(np.mean(rise[i])), self.n, confidence, seed)
        return change(metrics.nll(before), metrics.nll(after), interval)

    def _indices(self, names: Any) -> np.ndarray:
        index = {label: i for i, label in enumerate(self.labels)}
        indices: np.ndarray = np.array([index.get(str(name), -1) for name in names])
        return indices

    def _confusion(self, scores: Scores) -> dict[str, dict[str, int]]:
        """Return {gold: {predicted: items}}, pairs that do not occur left out."""
        counts: dict[str, dict[str, int]] = {label: {} for label in self.labels}
        for gold, predicted in zip(self.gold, scores.predicted, strict=True):
            counts[gold][str(predicted)] = counts[gold].get(str(predicted), 0) + 1
        return counts


def change(before: float, after: float, interval: tuple[float, float]) -> dict[str, Any]:
    """Return two values, their difference and its interval, rounded."""
    low, high = interval
    return {
        "before": rounded(before),
        "after": rounded(after),
        "change": rounded(after - before),
        "interval": [rounded(low), rounded(high)],
    }


def rounded(value: float) -> float:
    """Return a number as summaries and items show it."""
    return round(value, _DIGITS) + 0.0
