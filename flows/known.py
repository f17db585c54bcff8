"""A run with nothing to do: what every stage returned is known, so it is told without a server being started."""

import asyncio
import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from prefect import Task

from flows import bare
from flows.stages import damaged
from holdfast import spec
from holdfast.home import Home
from holdfast.records import Record, Result

Given = TypeVar("Given", bound=Record)


class Unknown(Exception):
    """Something has to be run."""


class Known:
    """Returns what Prefect keeps of the stages in one home; runs only those that are never kept, which cost nothing."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.seconds = 0.0
        self.reused = False

    def run(self, stage: Task, gives: type[Given], **inputs: Any) -> Given:
        """Return a stage's record. Raises `Unknown` where it, or an artifact of it, has to be made."""
        begun, given = time.perf_counter(), {**inputs, "home": self.home}
        key: Any = stage.cache_key_fn
        self.reused = key is not None
        found = self._kept(key(SimpleNamespace(task=stage), given)) if self.reused else stage.fn(**given)
        record = gives(**found)
        if self.reused and damaged(record, self.home):
            raise Unknown
        self.seconds = round(time.perf_counter() - begun, 3)
        return record

    def _kept(self, key: str) -> dict[str, Any]:
        try:
            text = json.loads((self.home.results / key).read_text(encoding="utf-8"))["result"]
            found: dict[str, Any] = json.loads(text)
        except (OSError, ValueError, KeyError) as error:
            raise Unknown from error
        return found


def tell(file: Path, overrides: list[str], home: Home) -> Result | None:
    """Return the result of a run of which everything up to the gate is known; None where there is something to do.

    The gate judges anew, as always. A server that outlives this process is told of every run, so nothing is told here;
    nor of a merge, which has no stages to know.
    """
    from flows.adapt import adapt

    if os.environ.get("PREFECT_API_URL") or not home.results.is_dir() or spec.load(file, overrides).merge is not None:
        return None
    with bare.without_prefect(Known):
        try:
            return Result(**asyncio.run(adapt.fn(str(file), overrides, str(home.path))))
        except Unknown:
            return None
