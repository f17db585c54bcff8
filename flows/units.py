"""One unit of a comparison: tuned, and looked at on `valid` or judged on `test`, unless its result is kept.

It goes through the tasks that `adapt` runs, with no server.
"""

import time
from dataclasses import dataclass
from typing import Any

from flows.light import Light
from holdfast import memory
from holdfast.comparison import measure, units, updates
from holdfast.comparison.units import Judged, Looked, Result, Unit
from holdfast.errors import BadInput, Diverged, HoldfastError
from holdfast.home import Home
from holdfast.records import Assessed, Evaluated, Prepared, Selected, Tuned, Validated


@dataclass(frozen=True)
class Work:
    """A unit with what it works on; goes to another process as it is."""

    unit: Unit
    prepared: Prepared
    home: Home

    @property
    def key(self) -> str:
        """The digest of all that decides the result."""
        return units.key(self.unit, self.prepared)


def perform(work: Work) -> tuple[Result, bool]:
    """Do a unit, unless its result is kept; return the result, and whether it was done now."""
    found = units.found(work.key, work.home)
    if found is not None:
        return work.unit.named(found), False
    result = _look(work) if work.unit.kind == "rate" else _judge(work)
    units.keep(work.key, result, work.home)
    return result, True


def _look(work: Work) -> Looked:
    """Tune and look at `valid`; an arm that diverges, or does not fit the model or the data, says so."""
    unit = work.unit
    shared = {"arm": unit.arm, "factor": unit.factor, "rate": unit.pipeline.training.learning_rate, "seed": unit.seed}
    try:
        stages = _Stages(work)
        tuned, seconds = stages.tuned()
    except (Diverged, BadInput) as error:
        return Looked(**shared, seconds=0.0, look=None, tuned=None, failed=str(error))
    with memory.given_back():
        seen = measure.look(tuned.adapter, work.prepared.start, stages.validated, stages.pipeline, work.home)
        return Looked(**shared, seconds=seconds, look=seen.document(), tuned=tuned)


def _judge(work: Work) -> Judged:
    """Tune, unless the adapter is still there from choosing the rate, and judge it on `test`, once."""
    from tasks.evaluate import evaluate

    unit, stages = work.unit, _Stages(work)
    selected, training = stages.selected, stages.pipeline.training
    shared: dict[str, Any] = {
        "arm": unit.arm, "factor": unit.factor, "rate": training.learning_rate, "seed": unit.seed,
        "moved": selected.moved, "total": selected.total, "share": selected.share, "prepared": stages.seconds,
    }  # fmt: skip
    try:
        tuned, seconds = _tuned_before(work) or stages.tuned()
    except Diverged as error:
        return Judged(**shared, steps=0, seconds=0.0, kl={}, target=None, failed=str(error))
    evaluated = Evaluated(
        **evaluate.fn(
            tuned=tuned, validated=stages.validated, start=work.prepared.start, champion=None,
            learn=stages.pipeline.learn, remember=stages.pipeline.remember, training=training, home=work.home,
        )
    )  # fmt: skip
    target, old = measure.outcomes(evaluated, work.home)
    judged = Judged(
        **shared, steps=tuned.steps, seconds=seconds, target=target, remembered=old, kl=evaluated.kl,
        adapter=tuned.adapter.digest, evaluation=evaluated.artifact.digest,
    )  # fmt: skip
    work.home.store.discard(tuned.adapter)
    return judged


def _tuned_before(work: Work) -> tuple[Tuned, float] | None:
    """Return what choosing the rate tuned, where that is this unit's rate and seed and its adapter is still there."""
    unit = work.unit
    same = Work(Unit("rate", unit.arm, unit.factor, unit.pipeline), work.prepared, work.home)
    found = units.found(same.key, work.home)
    if isinstance(found, Looked) and found.tuned and work.home.store.holds(found.tuned.adapter):
        return found.tuned, found.seconds
    return None


class _Stages:
    """The stages before tuning, run or found; `seconds` is what assessing and selecting took."""

    def __init__(self, work: Work) -> None:
        from tasks.assess import assess
        from tasks.select import select
        from tasks.validate import validate

        light, prepared, pipeline = Light(work.home), work.prepared, work.unit.pipeline
        start, learn, remember = prepared.start, pipeline.learn, pipeline.remember
        self.work = work
        self.validated = light.run(
            validate, Validated, datasets=prepared.datasets, start=start, learn=learn, remember=remember,
            max_length=pipeline.training.max_length,
        )  # fmt: skip
        before = light.seconds
        self.assessed = light.run(
            assess, Assessed, validated=self.validated, start=start, settings=pipeline.assess, learn=learn,
            remember=remember, training=pipeline.training, elementwise=pipeline.needs_elementwise_importance(),
        )  # fmt: skip
        self.pipeline = updates.equal(pipeline, self.validated, self.assessed, start, work.home)
        self.selected = light.run(
            select, Selected, assessed=self.assessed, validated=self.validated, start=start,
            parameters=pipeline.parameters, recipe=self.pipeline.recipe, remember=remember, teacher=prepared.teacher,
        )  # fmt: skip
        self.seconds = round(light.seconds - before, 3)

    def tuned(self) -> tuple[Tuned, float]:
        """Tune from the beginning (a half unit repeats); return what was tuned, and the seconds of `_clock` it took."""
        from holdfast.training import checkpoints, job
        from tasks.tune import tune

        start, home, recipe = self.work.prepared.start, self.work.home, self.pipeline.recipe
        given: dict[str, Any] = {
            "selected": self.selected, "assessed": self.assessed, "validated": self.validated, "start": start,
            "recipe": recipe, "remember": self.pipeline.remember, "home": home, "teacher": self.work.prepared.teacher,
        }  # fmt: skip
        checkpoints.discard(home.checkpoints / job.Given(**given).key)
        begun = _clock()
        tuned = Tuned(**tune.fn(**given))
        seconds = round(_clock() - begun, 3)
        wanted = updates.wanted(self.work.unit.pipeline, self.validated.datasets["learn.train"].rows)
        if tuned.steps != wanted:
            raise HoldfastError(f"the arm `{self.work.unit.arm}` made {tuned.steps} updates instead of {wanted}")
        return tuned, seconds


def _clock() -> float:
    """Return seconds of this process's processors, which a busy machine does not change; of the wall beside a GPU."""
    import torch

    return time.perf_counter() if torch.cuda.is_available() else time.process_time()
