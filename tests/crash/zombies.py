"""Runs that stand still at a point, lose their place to another, and wake up.

    python -m tests.crash.zombies FOLDER [POINT ...]

Each is a process that stops itself (SIGSTOP) under token 1. Its lease runs out, a second one begins under token 2 and
runs to the end; then the first goes on (SIGCONT). Prints one line of JSON per point: what the first one told, and what
there is afterwards.
"""

import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import Any

from benchmarks.kill import points, spine, world
from flows.cli import common
from holdfast.decisions import book, rule
from holdfast.decisions.records import Decision, Facts
from holdfast.drift.settings import Monitor
from holdfast.home import Home

NOW, LATER = "2026-01-01T00:00:00+00:00", "2026-01-03T00:00:00+00:00"
TUNE, REGISTER = ("checkpoint not yet in place",), (
    "model half logged", "before the version", "after the version", "before the ledger", "between ledger and alias",
)  # fmt: skip


def main(folder: Path, wanted: list[str]) -> None:
    """Try every point (or those wanted), each with a registered name of its own."""
    home = common.enter(folder / "home")
    _, file = spine.child(world.make, folder)
    spine.prepare([file], home)
    _, selected = spine.child(spine.run, file, [], home, None, "select")
    _, known = spine.child(spine.run, file, [], home, selected, "evaluate")
    for records, names in ((selected, TUNE), (known, REGISTER)):
        for name in (name for name in names if name in wanted or not wanted):
            print(json.dumps({"point": name, **zombie(name, file, home, records)}), flush=True)


def zombie(point: str, file: Path, home: Home, known: spine.Records) -> dict[str, Any]:
    """Let one run stop at a point, another one take over, and the first go on."""
    name = point.replace(" ", "-")
    wanted, sets = _decision(name, home), [f"register.name={name}"]
    first = book.at(home).begin(wanted, 24, NOW)
    frozen = _Frozen(next(p for p in points.ALL if p.name == point), file, sets, home, known, "gate", first.token)
    second = book.at(home).begin(wanted, 24, LATER)
    _, done = spine.child(spine.run, file, sets, home, known, "gate", second.token)
    before = spine.child(_seen, home, name)[1]
    told = frozen.go_on()
    after = spine.child(_seen, home, name)[1]
    return {"stopped": frozen.stopped, "told": told, "verdict": done["gate"].verdict, "before": before, "after": after}


class _Frozen:
    """A run in a forked process that has stopped itself."""

    def __init__(self, point: points.Point, *given: Any) -> None:
        context = multiprocessing.get_context("fork")
        self.told, sender = context.Pipe(duplex=False)
        self.there, self.awake = context.Event(), context.Event()
        self.process = context.Process(target=_run, args=(sender, point, self.there, self.awake, given))
        self.process.start()
        sender.close()
        self.stopped = True
        while self.stopped and not self.there.is_set():  # somebody else's SIGSTOP is none
            _, status = os.waitpid(self.process.pid or 0, os.WUNTRACED)
            self.stopped = os.WIFSTOPPED(status)

    def go_on(self) -> str:
        """Wake the process and return what it told."""
        self.awake.set()
        if self.stopped:
            os.kill(self.process.pid or 0, signal.SIGCONT)
        answer: str = self.told.recv()
        self.process.join()
        return answer


def _run(sender: Any, point: points.Point, there: Any, awake: Any, given: tuple) -> None:
    def stand_still() -> None:
        there.set()
        while not awake.is_set():  # somebody else's SIGCONT is none
            os.kill(os.getpid(), signal.SIGSTOP)

    try:
        points.arm(point, stand_still)
        spine.run(*given)
        sender.send("it went through")
    except Exception as error:
        sender.send(f"{type(error).__name__}: {error}")


def _decision(name: str, home: Home) -> Decision:
    facts = Facts(name=name, version="1", at=NOW, manual="because", labelled=999)
    return book.at(home).record(rule.decide(facts, Monitor(), rule.Past()))


def _seen(home: Home, name: str) -> dict[str, Any]:
    """Return what counts: the versions, the champions, the aliases, checkpoints, and what became of all runs."""
    from holdfast.registry import aliases, catalogue, ledger, tracking

    client = tracking.client(home)
    runs = client.search_runs([tracking.experiment(client, "first", home)])
    return {
        "runs": sorted({run.info.status for run in runs}),
        "versions": [str(version.version) for version in catalogue.ready(client, name)],
        "champions": [entry.version for entry in ledger.at(home).history(name)],
        "aliases": aliases.current(client, name),
        "checkpoints": sorted(str(path) for path in home.checkpoints.glob("*/checkpoint-*")),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
