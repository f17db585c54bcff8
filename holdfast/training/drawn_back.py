"""The end of a tuning whose schedule leads back towards the start model: see `holdfast.schedules.wise`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.control import weights
from holdfast.control.weights import Candidate
from holdfast.forgetting.watch import Watch
from holdfast.generation.watch import AnswerWatch

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.forgetting.watch import Look
    from holdfast.training.job import Given, Job


class DrawnBack:
    """Make it before the first update, when the model is the start; `end` gives the job's model its last weights."""

    def __init__(self, given: Given, job: Job) -> None:
        self.given, self.job = given, job
        self.start = {name: p.detach().clone() for name, p in job.moving.items()}

    def end(self) -> None:
        """Take the share of the way that the schedule says, and note it in the curve."""
        tuned = {name: p.detach().clone() for name, p in self.job.moving.items()}
        looker: type[Watch] | type[AnswerWatch] = AnswerWatch if self.job.model.generates else Watch
        given, job = self.given, self.job
        parts = (job.model, given.start, given.validated, given.recipe, given.remember, given.home)
        watch = looker(*parts, prefix=job.prefix)

        def look(share: float) -> Look:
            self._apply(share, tuned)
            return watch.look()

        self.job.curve.share = self.job.schedule.share(look)
        self._apply(self.job.curve.share, tuned)

    def _apply(self, share: float, tuned: dict[str, Tensor]) -> None:
        import torch

        with torch.no_grad():
            for name, value in weights.made(Candidate(1, 0, share), self.start, tuned).items():
                self.job.moving[name].copy_(value)
