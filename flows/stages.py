"""How a flow runs a stage: times it, knows whether it was reused, and never trusts a reused artifact unverified."""

import time
from typing import Any, TypeVar

from prefect import Task
from prefect.states import State

from flows import bare
from holdfast import leftovers, progress
from holdfast.home import Home
from holdfast.records import Artifact, Record, StageTime

Given = TypeVar("Given", bound=Record)
STAGES = ("prepare", "validate", "assess", "select", "tune", "evaluate", "register", "gate")


class Stages:
    """Runs stages in one home, cleared first of what killed processes left half-made, and keeps their times."""

    def __init__(self, home: Home) -> None:
        leftovers.remove_halves(home)
        self.home = home
        self.times: list[StageTime] = []

    async def run(self, stage: Task, gives: type[Given], **inputs: Any) -> Given:
        """Run a stage's task with `inputs` and return its record; a damaged cached result is made again."""
        self.home.check_fence()
        if bare.on():
            return self._bare(stage, gives, inputs)
        begun = time.perf_counter()
        state: State = stage(**inputs, home=self.home, return_state=True)
        record = gives(**await state.aresult())
        cached = state.name == "Cached"
        if cached and damaged(record, self.home):
            state = stage.with_options(refresh_cache=True)(**inputs, home=self.home, return_state=True)
            record, cached = gives(**await state.aresult()), False
        self.times.append(StageTime(name=stage.name, seconds=round(time.perf_counter() - begun, 3), cached=cached))
        progress.report("stages", len(self.times), len(STAGES), {stage.name: self.times[-1].seconds})
        return record

    def _bare(self, stage: Task, gives: type[Given], inputs: dict[str, Any]) -> Given:
        runner = bare.runner(self.home)
        record: Given = runner.run(stage, gives, **inputs)
        self.times.append(StageTime(name=stage.name, seconds=runner.seconds, cached=runner.reused))
        return record


def damaged(record: Record, home: Home) -> bool:
    """Say whether an artifact of a record is not in the store byte for byte; drop those that are not."""
    found = [artifact for artifact in artifacts(record) if not home.store.holds(artifact)]
    for artifact in found:
        home.store.discard(artifact)
    return bool(found)


def artifacts(value: Any) -> list[Artifact]:
    """Return every artifact that a record points at, however deep."""
    if isinstance(value, Artifact):
        return [value]
    if isinstance(value, Record):
        return [found for name in type(value).model_fields for found in artifacts(getattr(value, name))]
    if isinstance(value, dict):
        return [found for item in value.values() for found in artifacts(item)]
    if isinstance(value, list | tuple):
        return [found for item in value for found in artifacts(item)]
    return []
