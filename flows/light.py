"""Stages without Prefect, for work of many small runs: the same tasks, under the same cache keys, with no server."""

import time
from types import SimpleNamespace
from typing import Any, TypeVar

from prefect import Task

from flows.stages import damaged
from holdfast import leftovers
from holdfast.comparison import kept as comparisons
from holdfast.comparison import units
from holdfast.home import Home
from holdfast.records import Record

Given = TypeVar("Given", bound=Record)


class Kept(Record):
    """What a stage returned, and how long it took."""

    record: dict
    seconds: float


class Light:
    """Runs stages in one home and keeps what those with a cache key return as JSON in the home."""

    def __init__(self, home: Home) -> None:
        leftovers.remove_halves(home)
        self.home = home
        self.seconds = 0.0
        self.reused = False

    def run(self, stage: Task, gives: type[Given], **inputs: Any) -> Given:
        """Return a stage's record, its artifacts whole; what the stage took, now or then, is added to `seconds`.

        `reused` says whether it was then; a stage without a cache key never is.
        """
        given = {**inputs, "home": self.home}
        key: Any = stage.cache_key_fn
        if key is None:
            begun = time.perf_counter()
            record = gives(**stage.fn(**given))
            self.seconds += round(time.perf_counter() - begun, 3)
            return record
        place = comparisons.stages(self.home) / f"{key(SimpleNamespace(task=stage), given)}.json"
        try:
            kept = Kept.model_validate_json(place.read_text(encoding="utf-8"))
            place.touch()
        except (OSError, ValueError):
            kept = None
        self.reused = kept is not None and not damaged(gives(**kept.record), self.home)
        if kept is None or not self.reused:
            begun = time.perf_counter()
            kept = Kept(record=stage.fn(**given), seconds=round(time.perf_counter() - begun, 3))
            units.whole(place, kept.model_dump_json())
        self.seconds += kept.seconds
        return gives(**kept.record)
