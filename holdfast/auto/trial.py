"""A short tuning of one candidate: from the start model, by the recipe, in memory, and then looked at on `valid`.

Every trial sees the same rows in the same order at the same learning rate; schedules are scaled to its length. Nothing
is written. Imports transformers, so it is imported inside functions only.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from holdfast import selection
from holdfast.errors import Diverged
from holdfast.forgetting.watch import Look, Watch
from holdfast.training import batches, job, pool, randomness, trainer

if TYPE_CHECKING:
    from holdfast.models import Model
    from holdfast.selection import Selection

Progress = Callable[[int, int, dict[str, float]], None]


class Trials:
    """Trials on one model in memory, which is the start model again after each."""

    def __init__(self, given: job.Given, model: Model) -> None:
        self.given, self.model = given, model
        self.watch = Watch(model, given.start, given.validated, given.recipe, given.remember, given.home)
        self._origin = {name: p.detach().clone() for name, p in model.network.named_parameters()}
        self._per_epoch = 0
        self.tokens = self._tokens()

    def _tokens(self) -> list[int]:
        """Return how many training tokens the first 0, 1, 2 ... updates of the full tuning see; padding is not one."""
        given, training = self.given, self.given.recipe.training
        rows_of = pool.build(self.model, given.validated.datasets, given.recipe, given.remember, given.home)
        draw = batches.draws(given.recipe.examples, [example.task for example in rows_of.examples], training.seed)
        sampler = batches.EpochBatches(draw, rows_of.lengths, training.batch, training.seed)
        self._per_epoch = len(sampler)
        seen = []
        for epoch in range(math.ceil(training.epochs)):
            sampler.epoch = epoch
            seen += [sum(rows_of.lengths[position] for position in batch) for batch in sampler]
        updates = math.ceil(training.epochs * len(sampler))
        return [0, *itertools.accumulate(seen[:updates])]

    def run(self, chosen: Selection, updates: int, progress: Progress | None = None) -> Look | None:
        """Tune `chosen` for so many updates and return how that does on `valid`; None where it diverged."""
        recipe = self.given.recipe
        epochs = (updates - 0.5) / self._per_epoch  # the trainer rounds up to whole updates
        training = recipe.training.model_copy(update={"epochs": epochs, "patience": None})
        given = dataclasses.replace(self.given, recipe=recipe.model_copy(update={"training": training}))
        try:
            with randomness.reproducible(training.seed), given.home.store.scratch() as nowhere:
                _Short(job.make(given, self.model, chosen, nowhere, progress)).train()
            return self.watch.look()
        except Diverged:
            return None
        finally:
            self._start_again()

    def _start_again(self) -> None:
        selection.detach(self.model)
        with torch.no_grad():
            for name, parameter in self.model.network.named_parameters():
                parameter.copy_(self._origin[name])
                parameter.grad = None


class _Short(trainer.TuningTrainer):
    """The trainer of every tuning, without looking at `valid` on the way and without checkpoints."""

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        return {}

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Nothing is kept: what a trial is for is the look at its end."""
