"""Does watching pay? Real streams under four policies: never, always, calendar, and Holdfast's own decision.

    HOLDFAST_DATA=../shared/data .venv/bin/python -m benchmarks.loop.run              # all of it, or as far as it comes
    .venv/bin/python -m benchmarks.loop.run --parts nusax --seeds 1 --hours 0.5       # a part
    .venv/bin/python -m benchmarks.loop.run --table                                   # only the page, from what is kept

`tweets`: SemEval's tweets of 2012, 2014 and 2015 in the order in which they were posted, 12 windows of 500. `nusax`:
12 windows of 50, English, then Indonesian, then Javanese. Each seed draws other rows (`streams.py`), tunes and watches
with that seed. Every unit is one `holdfast backtest` of a file in this folder, so a stopped run goes on from its last
finished window; after `--hours` (of wall time) it stops by itself. Every finished unit is a line of results/loop.jsonl
and is not run again. Seed 0 is for development, such as settling rates and epochs; it is in no table.

Writes results/loop.json, the tables between the markers of docs/loop.md, and docs/loop-PART.png, the first seed's
timeline. The claim: where `always` beats `never` by an interval over seeds that excludes zero, Holdfast recovers at
least 80% of that difference with at most a third of the retrains; elsewhere it retrains at most once.
"""

import argparse
import json
import multiprocessing
import os
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from benchmarks.loop import page

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
RESULTS = ROOT / "benchmarks" / "results"
KEPT = RESULTS / "loop.jsonl"
EVERY = {"tweets": 365 * 24.0 / 2, "nusax": 200.0}  # the calendar: half a year; 200 sentences
UP = "the time is up"


def main() -> int:
    """Run what is missing, then write the page; return 3 where the time was up before everything was done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(EVERY), default=list(EVERY))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--hours", type=float, default=2.0, help="stop after so many hours")
    parser.add_argument("--jobs", type=int, default=1, help="units at a time, one thread each")
    parser.add_argument("--home", type=Path, default=ROOT / ".holdfast" / "benchmarks" / "loop")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key of the files")
    parser.add_argument("--table", action="store_true", help="only write the page again")
    options = parser.parse_args()
    code = 0 if options.table else run(options)
    if kept():
        page.write(kept(), ROOT / "docs" / "loop.md", RESULTS, machine())
    return code


def run(options: argparse.Namespace) -> int:
    """Run the units that are not kept, seed by seed, a process each, because a home is taken once per process."""
    until = time.time() + 3600 * options.hours
    done = {(line["part"], line["seed"]) for line in kept()}
    units = [(part, seed) for seed in options.seeds for part in options.parts if (part, seed) not in done]
    context, code = multiprocessing.get_context("spawn"), 0
    with ProcessPoolExecutor(options.jobs, mp_context=context, max_tasks_per_child=1) as pool:
        running = {pool.submit(one, *unit, str(options.home), options.set, until): unit for unit in units}
        for future in as_completed(running):
            found = future.result()
            if found is None:
                code = 3
                continue
            RESULTS.mkdir(exist_ok=True)
            with KEPT.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(found) + "\n")
    if code:
        print(f"{UP}; the same command goes on from here", file=sys.stderr)
    return code


def one(part: str, seed: int, place: str, sets: list[str], until: float) -> dict[str, Any] | None:
    """Run one unit in a process of its own; None where the time was up."""
    os.environ["OMP_NUM_THREADS"] = "1"
    from flows.cli import common
    from holdfast import home as homes
    from holdfast.backtest import settings

    root = homes.make(Path(place))
    data = root.path / f"{part}-{seed}"
    files = [f"learn.{role}={data / role}.csv" for role in ("train", "valid", "test")]
    given = settings.Settings(
        str(data / "stream.csv"), seed=seed, every=EVERY[part], overrides=(*files, *sets)
    )  # fmt: skip
    own = settings.own_home(HERE / f"{part}.yaml", given, root)
    common.enter(own.path)
    from benchmarks.loop import streams
    from flows import backtest

    streams.write(part, seed, data, own)
    picture = ROOT / "docs" if seed == 1 else own.path / "out"
    try:
        document = backtest.backtest(
            HERE / f"{part}.yaml", given, own, own.path / "out", _announcing(part, seed, until)
        )
    except _TimeIsUp:
        return None
    if seed == 1:
        (picture / f"loop-{part}.png").write_bytes((own.path / "out" / "timeline.png").read_bytes())
    return {"part": part, "seed": seed, **document, "home": None}


class _TimeIsUp(Exception):
    """So many hours are over."""


def _announcing(part: str, seed: int, until: float) -> Any:
    def announce(line: str) -> None:
        print(f"{part} seed {seed}: {line}", file=sys.stderr, flush=True)
        if time.time() > until:
            raise _TimeIsUp

    return announce


def kept() -> list[dict[str, Any]]:
    """Return the finished units."""
    if not KEPT.is_file():
        return []
    lines = [json.loads(line) for line in KEPT.read_text(encoding="utf-8").splitlines()]
    return sorted(lines, key=lambda line: (list(EVERY).index(line["part"]), line["seed"]))


def machine() -> dict[str, Any]:
    """Return what machine measured this."""
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    return {"processor": platform.processor() or platform.machine(), "capability": capability, "cores": os.cpu_count()}


if __name__ == "__main__":
    sys.exit(main())
