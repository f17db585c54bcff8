"""How a model in memory does on `valid` beside the start model, and which of several is best.

    watch = Watch(model, start, validated, recipe, remember, home)
    looks = [watch.look(), ...]                # the model as it is now: any weights, any head in place
    chosen = best(looks)                       # an index; looks[chosen].kept says whether it keeps every contract

A contract is kept on `valid` by a gentler rule than the verdict's, which on a hundred rows would leave little but the
start model: the paired drop in accuracy is at most half the margin, and its one-sided bound at `CONFIDENCE` is below
the margin (where so few rows could not show that even without a flip, the drop alone decides). Without the bound, what
is best on `valid` is too often only lucky there. `test` is never read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast import inference, rows
from holdfast.forgetting import intervals, metrics
from holdfast.forgetting.outcomes import Scores
from holdfast.forgetting.scorer import Scorer

if TYPE_CHECKING:
    from holdfast.home import Home
    from holdfast.models import Model
    from holdfast.prefix.cache import Prefix
    from holdfast.records import DatasetVersion, Start, Validated
    from holdfast.spec import Recipe, Remember

CONFIDENCE = 0.9
_ROUNDING = 1e-9
_DIGITS = 6


@dataclass(frozen=True)
class Seen:
    """A task on `n` valid rows: accuracy and mean log-loss per item of the start model (`before`) and of the one seen.

    `margin` is the contract's, None for the target; `flips`: items right before and wrong now, and the other way.
    """

    name: str
    n: int
    before: float
    after: float
    loss_before: float
    loss: float
    margin: float | None = None
    flips: tuple[int, int] | None = None

    @property
    def drop(self) -> float:
        """The drop in accuracy; minus the gain."""
        return self.before - self.after

    @property
    def bound(self) -> float | None:
        """The one-sided upper bound of the drop, or None where flips are unknown or so few rows could not show it."""
        if self.flips is None or self.margin is None or not intervals.establishable(self.n, self.margin, CONFIDENCE):
            return None
        return float(intervals.drop_upper(*self.flips, self.n, CONFIDENCE))

    @property
    def excess(self) -> float:
        """How far drop or bound is beyond what is allowed, in margins; 0 where that is kept, and for the target."""
        if self.margin is None:
            return 0.0
        bound = self.margin if self.bound is None else self.bound
        beyond = max(self.drop - self.margin / 2, bound - self.margin) / self.margin
        return beyond if beyond > _ROUNDING else 0.0


@dataclass(frozen=True)
class Look:
    """One model on `valid`: the target and every remembered task."""

    target: Seen
    remembered: tuple[Seen, ...]

    @property
    def gain(self) -> float:
        """The target's gain in accuracy."""
        return -self.target.drop

    @property
    def violation(self) -> float:
        """How far the worst broken contract is beyond what is allowed, in margins; 0 when all are kept."""
        return max((task.excess for task in self.remembered), default=0.0)

    @property
    def kept(self) -> bool:
        """Say whether every contract is kept by the gentle rule."""
        return self.violation == 0.0

    @property
    def loss(self) -> float:
        """The target's log-loss per item plus the mean of the remembered tasks'; it decides between equal gains."""
        old = [task.loss for task in self.remembered]
        return self.target.loss + (sum(old) / len(old) if old else 0.0)

    @property
    def rank(self) -> tuple[float, float, float]:
        """What looks are ordered by, larger is better: least violation, then the largest gain, then the least loss."""
        return (-round(self.violation, _DIGITS), round(self.gain, _DIGITS), -self.loss)

    def document(self) -> dict[str, Any]:
        """Return the look as JSON-able values."""
        return {
            "target": dataclasses.asdict(self.target) | {"gain": round(self.gain, _DIGITS) + 0.0},
            "remembered": [
                dataclasses.asdict(task) | {"drop": round(task.drop, _DIGITS) + 0.0} for task in self.remembered
            ],
            "kept": self.kept,
            "violation": round(self.violation, _DIGITS),
        }


def from_document(document: Mapping[str, Any]) -> Look:
    """Return the look that `Look.document` described."""
    names = [field.name for field in dataclasses.fields(Seen)]
    found = []
    for task in (document["target"], *document["remembered"]):
        values = {name: task[name] for name in names}
        found.append(Seen(**{**values, "flips": tuple(values["flips"]) if values["flips"] else None}))
    return Look(found[0], tuple(found[1:]))


def best(looks: Sequence[Look]) -> int:
    """Return the index of the best look: the largest gain that keeps every contract, equal ones by log-loss.

    Where none keeps every contract it is the one that is least beyond what is allowed: see `Look.kept`. The first of
    equals wins. Raises `ValueError` for no looks.
    """
    return max(range(len(looks)), key=lambda i: looks[i].rank)


class Watch:
    """Looks at a model in memory with the `valid` rows of the target and of every remembered task.

    The start model's values are computed once and kept in the home. `limits` says for each dataset (`learn.valid`,
    `remember.NAME.valid`) how many rows are looked at where not all are: a fixed sample, drawn with the recipe's seed
    and stratified by label, the same at every look. A head that the start model lacks is compared with always guessing
    by the frequencies of `learn.train`. `keys` names the datasets, the target's first. With a `prefix` the layers that
    do not move are run at the first look only.
    """

    def __init__(
        self,
        model: Model,
        start: Start,
        validated: Validated,
        recipe: Recipe,
        remember: Sequence[Remember],
        home: Home,
        limits: Mapping[str, int] | None = None,
        prefix: Prefix | None = None,
    ) -> None:
        self.model, self.training, self._prefix = model, recipe.training, prefix
        self._start, self._home, self._counts = start, home, validated.datasets["learn.train"].labels
        wanted: list[tuple[str, str, str, float | None]] = [("target", "learn.valid", recipe.head, None)]
        wanted += [(t.name, f"remember.{t.name}.valid", t.head or recipe.head, t.margin) for t in remember]
        self.keys = [key for _, key, _, _ in wanted]
        self._tasks = [
            _Task(name, head, margin, *_sample(home, validated.datasets[key], (limits or {}).get(key), recipe))
            for name, key, head, margin in wanted
        ]
        self._before: list[Scores] | None = None

    def texts(self) -> list[list[str]]:
        """Return the texts of each task, the target's first."""
        return [rows.texts(task.rows) for task in self._tasks]

    def lengths(self) -> list[list[int]]:
        """Return the lengths of each task's rows in tokens: what one look runs through the model."""
        longest = self.training.max_length
        every = [inference.encode(self.model, texts, longest) for texts in self.texts()]
        return [[len(row["input_ids"]) for row in own] for own in every]

    def look(self) -> Look:
        """Return how the model does now; the head in place stays in place."""
        if self._before is None:
            scorer = Scorer(self._start, self.training, self._home)
            self._before = [self._start_scores(task, scorer) for task in self._tasks]
        target, *old = (self._seen(task, before) for task, before in zip(self._tasks, self._before, strict=True))
        return Look(target, tuple(old))

    def _seen(self, task: _Task, before: Scores) -> Seen:
        with self.model.using(task.head):
            logits = inference.logits(
                self.model,
                rows.texts(task.rows),
                max_length=self.training.max_length,
                precision=self.training.precision,
                prefix=self._prefix,
            )
            after = Scores.read(logits, self.model.labels, task.gold)
        right_before, right = (scores.predicted == np.array(task.gold) for scores in (before, after))
        positive, negative = metrics.flips(right_before, right)
        return Seen(
            name=task.name,
            n=len(task.gold),
            before=float(np.mean(right_before)),
            after=float(np.mean(right)),
            loss_before=metrics.nll(before.gold_log_probability),
            loss=metrics.nll(after.gold_log_probability),
            margin=task.margin,
            flips=(negative, positive),
        )

    def _start_scores(self, task: _Task, scorer: Scorer) -> Scores:
        if not scorer.has(task.head):
            return Scores.of_majority(self._counts, self.model.heads[task.head].labels, task.gold)
        return Scores.read(scorer.logits(task.dataset, task.head), scorer.labels(task.head), task.gold)


@dataclass(frozen=True)
class _Task:
    name: str
    head: str
    margin: float | None
    dataset: DatasetVersion
    rows: list[rows.Row]

    @property
    def gold(self) -> list[str]:
        return [str(row["label"]) for row in self.rows]


def _sample(
    home: Home, dataset: DatasetVersion, limit: int | None, recipe: Recipe
) -> tuple[DatasetVersion, list[rows.Row]]:
    """Return the dataset, or a version of a sample of it, and its rows."""
    everything = rows.read(home, dataset)
    if limit is None or limit >= len(everything):
        return dataset, everything
    picked = stratified([str(row["label"]) for row in everything], limit, recipe.training.seed)
    sample = [everything[i] for i in picked]
    return rows.version(home, sample, like=dataset), sample


def stratified(labels: Sequence[str], count: int, seed: int) -> list[int]:
    """Return `count` positions, sorted, in which every label has its share (largest remainders), drawn with `seed`."""
    generator = np.random.default_rng(seed)
    places = {label: [i for i, one in enumerate(labels) if one == label] for label in sorted(set(labels))}
    exact = {label: count * len(found) / len(labels) for label, found in places.items()}
    take = {label: int(share) for label, share in exact.items()}
    for label in sorted(exact, key=lambda name: (take[name] - exact[name], name))[: count - sum(take.values())]:
        take[label] += 1
    drawn = [int(i) for label, found in places.items() for i in generator.choice(found, take[label], replace=False)]
    return sorted(drawn)
