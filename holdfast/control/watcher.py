"""The controller of one tuning: looks at it along the way, and afterwards searches for what keeps every contract."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast import digests
from holdfast.control import plan, search, weights
from holdfast.control.journal import Journal
from holdfast.control.search import Seen
from holdfast.control.weights import Candidate
from holdfast.errors import Corrupt
from holdfast.forgetting.watch import Watch, from_document
from holdfast.generation.watch import AnswerWatch

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.forgetting.watch import Look
    from holdfast.training.job import Given, Job

_POINTS = "points"


class Watcher:
    """Looks at a job's model when the plan says so; make it before the first update, when the model is the start.

    Its looks are numbered by the update that they come after. Points along the way lie on disk beside the checkpoints.
    """

    def __init__(self, given: Given, job: Job, attempt: int) -> None:
        self.job, self.attempt, self.settings = job, attempt, given.recipe.control
        self.start = {name: p.detach().cpu().clone() for name, p in job.moving.items()}
        self.journal = Journal(job.root, job.machine)
        work, fixed = plan.training_work(job), plan.cost_of_a_look(job)
        parts = (job.model, given.start, given.validated, given.recipe, given.remember, given.home)
        looker: type[Watch] | type[AnswerWatch] = AnswerWatch if job.model.generates else Watch
        whole = looker(*parts)
        everything = whole.lengths()
        limits = dict(zip(whole.keys, plan.rows(work, everything, self.settings, fixed), strict=True))
        self.watch = looker(*parts, limits, job.prefix)
        self.plan = plan.make(work, self.watch.lengths(), self.settings, fixed)
        names = ["target", *(task.name for task in given.remember)]
        looked = zip(self.watch.lengths(), everything, strict=True)
        self.rows = {name: [len(some), len(every)] for name, (some, every) in zip(names, looked, strict=True)}
        self.anchors, self.updates = given.recipe.anchors, 0
        self.points: list[Seen] = []
        self.tried: list[Seen] = []
        self._since: float | None = None

    @property
    def seen(self) -> list[Seen]:
        """Every candidate looked at so far."""
        return [*self.points, *self.tried]

    @property
    def spent(self) -> int:
        """What the looks so far have cost, the one at the start model included."""
        return self.plan.look * (len(self.seen) + 1) if self.seen else 0

    @property
    def in_vain(self) -> bool:
        """Say whether contracts were broken, and no candidate keeps them all with a gain."""
        return any(not seen.look.kept for seen in self.seen) and not any(search.qualifies(seen) for seen in self.seen)

    def callback(self) -> Any:
        """Return what makes transformers' trainer tell this controller of every update."""
        from transformers import TrainerCallback

        watcher = self

        class Told(TrainerCallback):
            def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
                watcher.begin()

            def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
                watcher.after(state.global_step)

        return Told()

    def begin(self) -> None:
        """Start the clock of the tuning."""
        self._since = time.perf_counter()

    def after(self, update: int) -> None:
        """Look at the model after an update, where the plan says so."""
        if update in self.plan.steps:
            self._stop_clock()
            self._point(update)
            self.begin()

    def end(self, updates: int, used: int) -> None:
        """Look at the weights that a tuning of so many updates ended with, those of update `used`, and search."""
        self._stop_clock()
        self.updates = updates
        if not self.plan.steps:
            return
        self.points = [self._recall(step) for step in self.plan.steps if step <= updates]
        if used not in self.plan.steps and self._affordable(updates):
            self.points.append(self._point(used))
        self.tried = []
        search.run(self.points, lambda candidate: self._try(candidate, updates), self.settings.interpolations)

    def apply(self, candidate: Candidate) -> None:
        """Give the model the weights of a candidate."""
        import torch

        values = weights.made(candidate, self.start, self._tuned(candidate.step))
        with torch.no_grad():
            for name, parameter in self.job.moving.items():
                parameter.copy_(values[name])

    def _point(self, update: int) -> Seen:
        """Keep the weights that the model has after an update, and look at it."""
        candidate = Candidate(self.attempt, update)
        if candidate.name not in self.journal.entries:
            begun = time.perf_counter()
            digest = _keep(self._place(update), self.job.moving)
            self._look(candidate, begun, {"weights": digest})
        return self._recall(update)

    def _recall(self, update: int) -> Seen:
        candidate = Candidate(self.attempt, update)
        if candidate.name not in self.journal.entries:
            raise Corrupt(
                f"{self.job.root}: what was seen after update {update} is lost. Remove the folder to start over"
            )
        return Seen(candidate, from_document(self.journal.entries[candidate.name]["look"]))

    def _try(self, candidate: Candidate, updates: int) -> Look | None:
        """Return how a candidate does, or None when one more look cannot be paid."""
        if not self._affordable(updates):
            return None
        if candidate.name not in self.journal.entries:
            begun = time.perf_counter()
            self.apply(candidate)
            self._look(candidate, begun, {})
        look = from_document(self.journal.entries[candidate.name]["look"])
        self.tried.append(Seen(candidate, look))
        return look

    def _look(self, candidate: Candidate, begun: float, also: dict[str, Any]) -> None:
        look = self.watch.look()
        seconds = time.perf_counter() - begun
        self.journal.spend("controller", seconds)
        self.job.allowed()
        self.journal.add(candidate.name, {"look": look.document(), "seconds": round(seconds, 3), **also})

    def _affordable(self, updates: int) -> bool:
        return self.plan.look * (len(self.seen) + 2) <= self.plan.allowed(updates)

    def _stop_clock(self) -> None:
        if self._since is not None:
            self.journal.spend("tuning", time.perf_counter() - self._since)
            self._since = None

    def _tuned(self, update: int) -> dict[str, Tensor]:
        """Return the weights kept after an update; raises `Corrupt` when they are not what was written."""
        from safetensors.torch import load_file

        place, wanted = self._place(update), self.journal.entries[Candidate(self.attempt, update).name]["weights"]
        if not place.is_file() or digests.of_file(place) != wanted:
            raise Corrupt(f"{place}: is not what was written. Remove {self.job.root} to start over")
        found: dict[str, Tensor] = load_file(place)
        return found

    def _place(self, update: int) -> Path:
        return self.job.root / _POINTS / f"{update}.safetensors"


def needed(given: Given) -> bool:
    """Say whether there is a contract to keep and the controller is to keep it."""
    return bool(given.remember) and given.recipe.control.enabled


def _keep(place: Path, parameters: Mapping[str, Tensor]) -> str:
    """Write weights whole or not at all; return the SHA-256 of the file."""
    from safetensors.torch import save_file

    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_suffix(".part")
    save_file({name: p.detach().cpu().contiguous() for name, p in parameters.items()}, part)
    with part.open("rb") as stream:
        os.fsync(stream.fileno())
    part.replace(place)
    return digests.of_file(place)
