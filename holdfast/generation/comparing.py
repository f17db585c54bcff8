"""Two versions of a decoder asked the same prompts: what was gained and lost, item by item, and how far it moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast import models, rows
from holdfast.forgetting import intervals, metrics
from holdfast.forgetting.outcomes import change, rounded
from holdfast.generation import items, likelihood, probes
from holdfast.generation.items import Items

if TYPE_CHECKING:
    from holdfast.generation.probes import Drift
    from holdfast.home import Home
    from holdfast.models import Model
    from holdfast.records import DatasetVersion, Start, Validated
    from holdfast.spec import Learn, Metric, Remember, Training

_DRIFT_ROWS = 256
_ROUNDING = 1e-9
WORDS = {
    "number": "numeric accuracy",
    "exact": "exact match",
    "f1": "token F1",
    "choice": "accuracy",
    "tests": "share of programs that pass",
    "likelihood": "log-likelihood per token",
    "pairs": "accuracy on minimal pairs",
}


class Asked:
    """One version and what it says to datasets; it is loaded only once."""

    def __init__(self, start: Start, training: Training, home: Home) -> None:
        self.start, self.training, self.home = start, training, home
        self._model: Model | None = None

    @property
    def model(self) -> Model:
        """The decoder."""
        if self._model is None:
            self._model = models.load(self.start, self.home)
        return self._model

    def items(self, dataset: DatasetVersion, section: Learn | Remember) -> Items:
        """Return how the version does on a dataset, kept in the home."""
        assert section.metric is not None
        settings = items.Settings(section.metric, section.max_new_tokens, self.training.precision)
        return items.of(self.model, rows.read(self.home, dataset), settings, self.start, self.home)


@dataclass(frozen=True)
class AnswersCompared:
    """A task's n items before and after, with the interface of `forgetting.outcomes.Comparison`.

    A score is 0 or 1, and a flip is a change of it; of token F1, which lies between, and of texts' log-likelihoods,
    flips are items that became better or worse, and intervals are a bootstrap's instead of Tango's.
    """

    name: str
    measure: Metric
    ids: list[str]
    gold: list[str]
    before: Items
    after: Items
    chance: float
    drift: Drift | None = None
    baseline: str = "start"

    @property
    def metric(self) -> str:
        """The metric in words."""
        return WORDS[self.measure]

    @property
    def kl(self) -> float | None:
        """KL(start || tuned) per token of the known answers, in nats."""
        return self.drift.kl if self.drift else None

    @property
    def n(self) -> int:
        """The number of items."""
        return len(self.gold)

    @property
    def right_before(self) -> np.ndarray:
        """The scores before [n]."""
        return self.before.score

    @property
    def right_after(self) -> np.ndarray:
        """The scores after [n]."""
        return self.after.score

    @cached_property
    def flips(self) -> tuple[int, int]:
        """Items that became better, and worse."""
        rise = self.after.score - self.before.score
        return int(np.sum(rise > _ROUNDING)), int(np.sum(rise < -_ROUNDING))

    @property
    def drop(self) -> float:
        """The paired drop of the mean score."""
        if self.measure not in items.MEANS:
            positive, negative = self.flips
            return (negative - positive) / self.n
        return float(np.mean(self.before.score - self.after.score))

    def drop_upper(self, confidence: float) -> float:
        """Return the one-sided upper bound of the drop."""
        if self.measure in items.MEANS:
            return -self._bootstrap(2 * confidence - 1)[0]
        positive, negative = self.flips
        return float(intervals.drop_upper(negative, positive, self.n, confidence))

    def gain_lower(self, confidence: float) -> float:
        """Return the one-sided lower bound of the gain."""
        return -self.drop_upper(confidence)

    def gain_interval(self, confidence: float) -> tuple[float, float]:
        """Return the two-sided interval of the gain."""
        if self.measure in items.MEANS:
            return self._bootstrap(confidence)
        positive, negative = self.flips
        low, high = intervals.drop_interval(positive, negative, self.n, confidence)
        return float(low), float(high)

    def _bootstrap(self, confidence: float) -> tuple[float, float]:
        gain = self.after.score - self.before.score
        return intervals.bootstrap(lambda i: float(gain[i].mean()), self.n, confidence)

    def items(self) -> list[dict[str, Any]]:
        """Return one JSON-able row per item."""
        return [
            {
                "id": self.ids[i],
                "answer": self.gold[i],
                "before": self.before.said[i],
                "after": self.after.said[i],
                "before_log_probability": rounded(float(self.before.log_probability[i])),
                "after_log_probability": rounded(float(self.after.log_probability[i])),
                "before_score": rounded(float(self.before.score[i])),
                "after_score": rounded(float(self.after.score[i])),
            }
            for i in range(self.n)
        ]

    def summary(self, confidence: float, seed: int) -> dict[str, Any]:
        """Return score and NLL per token before and after with intervals, flips, and drift from the start model."""
        positive, negative = self.flips
        before, after = float(self.before.score.mean()), float(self.after.score.mean())
        retained = metrics.retained(before, after, self.chance)
        return {
            "name": self.name,
            "metric": self.metric,
            "baseline": self.baseline,
            "n": self.n,
            "confidence": confidence,
            "accuracy": change(before, after, self.gain_interval(confidence)),
            "nll": self._nll(confidence, seed),
            "positive_flips": positive,
            "negative_flips": negative,
            "mcnemar_p": None if self.measure in items.MEANS else rounded(intervals.mcnemar(negative, positive)),
            "chance": rounded(self.chance),
            "retained": None if retained is None else rounded(retained),
            "entropy": self.drift
            and {
                "before": rounded(self.drift.entropy_start),
                "after": rounded(self.drift.entropy_tuned),
            },
        }

    def _nll(self, confidence: float, seed: int) -> dict[str, Any]:
        lost, tokens = self.before.log_probability - self.after.log_probability, self.before.tokens
        interval = intervals.bootstrap(lambda i: float(lost[i].sum() / tokens[i].sum()), self.n, confidence, seed)
        return change(self.before.nll, self.after.nll, interval)


def compare(name: str, section: Learn | Remember, dataset: DatasetVersion, old: Asked, new: Asked) -> AnswersCompared:
    """Return the paired outcomes of a task, with the drift on the known answers of at most 256 rows."""
    found = rows.read(new.home, dataset)
    assert section.metric is not None
    return AnswersCompared(
        name=name,
        measure=section.metric,
        ids=[str(row["id"]) for row in found],
        gold=[row["answer"] for row in found],
        before=old.items(dataset, section),
        after=new.items(dataset, section),
        chance=items.chance(section.metric, found, new.model),
        drift=_drift(old, new, found, section.metric),
    )


def everything(
    old: Asked, new: Asked, validated: Validated, learn: Learn, remember: Sequence[Remember]
) -> tuple[AnswersCompared, list[AnswersCompared]]:
    """Return the target's outcomes on its test items, and those of every remembered task."""
    target = compare("target", learn, validated.datasets["learn.test"], old, new)
    tests = {task.name: validated.datasets[f"remember.{task.name}.test"] for task in remember}
    return target, [compare(task.name, task, tests[task.name], old, new) for task in remember]


def _drift(old: Asked, new: Asked, found: Sequence[rows.Row], metric: Metric) -> Drift:
    chosen = np.unique(np.linspace(0, len(found) - 1, min(len(found), _DRIFT_ROWS)).astype(int))
    encoded = items.encode(new.model, [found[i] for i in chosen], metric)
    return probes.drift(old.model, new.model, encoded, likelihood.Compute(precision=new.training.precision))
