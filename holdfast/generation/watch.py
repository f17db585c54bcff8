"""How a decoder in training does on `valid` beside the start model: `forgetting.watch` for answers in words.

A look asks every prompt and reads every known answer, so it costs more per row than classifying a text: both count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from holdfast import models, rows
from holdfast.forgetting.watch import Look, Seen
from holdfast.generation import forks, items, probes

if TYPE_CHECKING:
    from holdfast.generation.items import Items
    from holdfast.home import Home
    from holdfast.models import Model
    from holdfast.prefix.cache import Prefix
    from holdfast.records import Start, Validated
    from holdfast.spec import Recipe, Remember


@dataclass(frozen=True)
class _Task:
    name: str
    settings: items.Settings
    margin: float | None
    rows: list[rows.Row]


class AnswerWatch:
    """Looks at a decoder in memory with the `valid` rows of the target and of every remembered task.

    `limits` says for each dataset how many rows are looked at where not all are: a fixed sample, drawn with the
    recipe's seed. `keys` names the datasets, the target's first. A `prefix` is of no use here: answers are generated
    token by token, each from new states.
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
        self.model, self._start, self._home = model, start, home
        sections: list[tuple[str, str, Recipe | Remember, float | None]] = [("target", "learn.valid", recipe, None)]
        sections += [(task.name, f"remember.{task.name}.valid", task, task.margin) for task in remember]
        self.keys = [key for _, key, _, _ in sections]
        self._tasks = []
        for name, key, section, margin in sections:
            assert section.metric is not None
            found = _sample(rows.read(home, validated.datasets[key]), (limits or {}).get(key), recipe.training.seed)
            settings = items.Settings(section.metric, section.max_new_tokens, recipe.training.precision)
            self._tasks.append(_Task(name, settings, margin, found))
        self._before: list[Items] | None = None

    def lengths(self) -> list[list[int]]:
        """Return, for each task's rows, how many tokens go through the model in one look."""
        return [self._lengths(task) for task in self._tasks]

    def _lengths(self, task: _Task) -> list[int]:
        if task.settings.metric == "pairs":
            pairs = [(row["good"], row["bad"]) for row in task.rows]
            return forks.lengths(probes.encoded_pairs(self.model, pairs))
        read = items.encode(self.model, task.rows, task.settings.metric)
        if task.settings.metric == "likelihood":
            return [len(text.input_ids) for text in read]
        more = task.settings.max_new_tokens
        return [2 * len(pair.input_ids) - pair.scored + more for pair in read]

    def look(self) -> Look:
        """Return how the model does now."""
        if self._before is None:
            start = models.load(self._start, self._home)
            self._before = [items.of(start, t.rows, t.settings, self._start, self._home) for t in self._tasks]
        target, *old = (self._seen(task, before) for task, before in zip(self._tasks, self._before, strict=True))
        return Look(target, tuple(old))

    def _seen(self, task: _Task, before: Items) -> Seen:
        after = items.of(self.model, task.rows, task.settings)
        whole = task.settings.metric not in items.MEANS
        return Seen(
            name=task.name,
            n=len(task.rows),
            before=float(before.score.mean()),
            after=float(after.score.mean()),
            loss_before=before.nll,
            loss=after.nll,
            margin=task.margin,
            flips=_flips(before.score, after.score) if whole else None,
        )


def _flips(before: np.ndarray, after: np.ndarray) -> tuple[int, int]:
    """Return how many items were right before and are wrong now, and the other way round."""
    return int(np.sum(before > after)), int(np.sum(after > before))


def _sample(found: list[rows.Row], limit: int | None, seed: int) -> list[rows.Row]:
    if limit is None or limit >= len(found):
        return found
    picked = np.random.default_rng(seed).choice(len(found), limit, replace=False)
    return [found[i] for i in sorted(int(i) for i in picked)]
