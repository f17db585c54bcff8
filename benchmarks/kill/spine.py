"""The flow's own body without Prefect, and processes to kill in it.

`run` calls the function that `flows.adapt` decorates, so stages and their arguments are always the flow's; only how a
stage is run is replaced: at once, or not at all where its record is known already.
"""

import asyncio
import contextlib
import gc
import importlib
import multiprocessing
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from benchmarks.kill import points
from holdfast import leftovers
from holdfast.home import Home
from holdfast.records import Record, StageTime

Records = dict[str, Any]  # by stage, each of its own type


class _Enough(Exception):
    """The stage that was asked for is done."""


class _Stages:
    """Runs stages without Prefect; `known` holds the records of those that are done."""

    def __init__(self, home: Home, known: Records, until: str) -> None:
        leftovers.remove_halves(home)
        self.home, self.known, self.until = home, known, until
        self.times: list[StageTime] = []

    async def run(self, stage: Any, gives: type[Record], **inputs: Any) -> Any:
        if stage.name not in self.known:
            self.known[stage.name] = gives(**stage.fn(**inputs, home=self.home))
        if stage.name == self.until:
            raise _Enough
        return self.known[stage.name]


def run(
    file: Path,
    sets: list[str],
    home: Home,
    known: Records | None = None,
    until: str = "gate",
    token: int | None = None,
) -> Records:
    """Run the stages up to `until` that are not `known`, under a token if there is one; return the records of all."""
    from flows import adapt
    from tasks.rival import rival
    from tasks.shadow import shadow

    records = dict(known or {})

    def stages(place: Home) -> _Stages:
        return _Stages(place, records, until)

    with mock.patch.multiple(adapt, Stages=stages, rival=rival.fn, shadow=shadow.fn, publish=SimpleNamespace()):
        try:
            asyncio.run(adapt.adapt.fn(str(file), sets, str(home.path), token))
        except _Enough:
            return records
    raise LookupError(f"no stage is named {until}")


def prepare(files: Iterable[Path], home: Home) -> None:
    """Run files once, in forks, then import here what they imported, so that no later fork does it again."""
    for file in files:
        for name in child(_modules_of_a_run, file, home)[1]:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    _settle()


def _modules_of_a_run(file: Path, home: Home) -> list[str]:
    run(file, [], home)
    return list(sys.modules)


def _settle() -> None:
    """Do once what each forked process would do again: look through packages and files, and collect garbage."""
    from mlflow.utils import requirements_utils
    from transformers import conversion_mapping

    from holdfast import closures
    from holdfast.versioning import registry

    requirements_utils._init_packages_to_modules_map()
    conversion_mapping.get_checkpoint_conversion_mapping("bert")
    registry.load()
    closures.digest(["holdfast.training.tune"])
    gc.collect()
    gc.freeze()


def child(function: Callable, *given: Any, point: points.Point | None = None) -> tuple[int, Any]:
    """Call a function in a process of its own, which kills itself at `point`; return its exit code and the answer.

    Forked, so that nothing is imported again; this process must not have computed anything before.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_call, args=(sender, point, function, given))
    process.start()
    sender.close()
    try:
        answer = receiver.recv()
    except EOFError:
        answer = None
    process.join()
    if isinstance(answer, Exception):
        raise answer
    return process.exitcode or 0, answer


def _call(sender: Any, point: points.Point | None, function: Callable, given: tuple) -> None:
    try:
        if point is not None:
            points.arm(point)
        sender.send(function(*given))
    except Exception as error:
        sender.send(RuntimeError(f"{type(error).__name__}: {error}"))
