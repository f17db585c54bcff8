"""The frontier of gain against loss: methods beside fair baselines, each at the best rate of a grid, at five seeds.

    HOLDFAST_DATA=../shared/data .venv/bin/python -m benchmarks.frontier.run     # at most five hours of two cores
    .venv/bin/python -m benchmarks.frontier.run --table                         # tables and pictures again
    .venv/bin/python -m benchmarks.frontier.run --parts made --seeds 1 --arms layernorm,psft

Parts: `made` (English, then Lirian), `javanese` (NusaX English, then Javanese: every arm), `sundanese` and
`minangkabau` (the eight arms that did best on Javanese `valid`), `exercises` (generation: `pipelines/arithmetic.yaml`),
`restyled` (S3FT beside SDFT, from a start model whose paraphrase is not its own answer), `equal-size` (Javanese: CT-SFT
beside LoRA with as many weights). The last two answer one question each, and have no baselines but `sft`.
Each is one `holdfast compare` of a file in this folder, so a stopped run goes on from its last finished unit, and after
`--hours` it stops by itself. All arms of a part start from one version, which is made first where it is not there.

Writes `benchmarks/results/frontier/PART.json` and, between the markers of `docs/methods.md`, its tables, the first
sentence of every method, and the table of what papers claim; the pictures to `docs/frontier-PART.png`. Tunings run two
at a time with one thread each; seconds are the processor's. The units of a part that is not done are kept as lines of
`benchmarks/results/frontier/PART.jsonl`, from which another machine of that kind goes on, at the same commit.
"""

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.frontier import arms, kept, page
from holdfast.comparison import picture

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
RESULTS = ROOT / "benchmarks" / "results" / "frontier"
PARTS = {
    "javanese": (HERE / "javanese.yaml", arms.EVERY),
    "made": (HERE / "made.yaml", arms.MADE),
    "exercises": (ROOT / "pipelines" / "arithmetic.yaml", arms.GENERATION),
    "restyled": (HERE / "restyled.yaml", arms.RESTYLED),
    "equal-size": (HERE / "javanese.yaml", arms.EQUAL_SIZE),
    "sundanese": (HERE / "sundanese.yaml", None),
    "minangkabau": (HERE / "minangkabau.yaml", None),
}
RATES = "0.2,1,5"  # low enough for all weights, high enough for few
OF_ONE_QUESTION = ("restyled", "equal-size")
_LOW = "0.1,0.2,1"  # where plain tuning at 0.2 has lost much already
OWN_RATES = {"exercises": _LOW, "restyled": _LOW}


class _TimeIsUp(Exception):
    """So many hours are over."""


def main() -> int:
    """Run what is missing, then write the tables; return 3 where the time was up before everything was done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rates", help=f"for every part; else {RATES}, and {_LOW} for {' and '.join(OWN_RATES)}")
    parser.add_argument("--arms", help="these instead of the part's own, without baselines")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key of the files")
    parser.add_argument("--jobs", type=int, default=2, help="tunings at a time, one thread each")
    parser.add_argument("--hours", type=float, default=5.0)
    parser.add_argument("--home", type=Path, default=ROOT / ".holdfast" / "benchmarks" / "frontier")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="only tables and pictures again")
    options = parser.parse_args()
    code = 0 if options.table else run(options)
    shown = options.out == RESULTS
    for part, document in documents(options.out).items():
        picture.draw(document, ROOT / "docs" / f"frontier-{part}.png" if shown else options.out / f"{part}.png")
    if shown:
        page.write(documents(RESULTS), ROOT / "docs" / "methods.md", RESULTS)
    return code


def run(options: argparse.Namespace) -> int:
    """Run the parts, one after the other; return the exit code."""
    os.environ["OMP_NUM_THREADS"] = "1"
    from flows.cli import common

    home, until = common.enter(options.home), time.monotonic() + 3600 * options.hours
    for part in options.parts:
        file, own = PARTS[part]
        chosen = options.arms or ",".join(own or best(options.out / "javanese.json"))
        if not file.is_file() or not chosen:
            print(f"{part}: left out, {file if not file.is_file() else 'javanese first'} is missing", file=sys.stderr)
            continue
        try:
            compare(part, file, chosen, options, home, _announcing(part, until))
        except _TimeIsUp:
            print(f"{part}: the time is up; the same command goes on from here", file=sys.stderr)
            return 3
    return 0


def compare(part: str, file: Path, chosen: str, options: argparse.Namespace, home: Any, announce: Callable) -> None:
    """Make the start model of a part where it is not there yet, and compare."""
    from flows import chain
    from flows import compare as flow
    from holdfast.comparison import kept as comparisons

    lines = kept.Lines(options.out / f"{part}.jsonl", comparisons.units(home))
    lines.restore()
    for needed in chain.needed(file, options.set, home):
        announce(f"{needed.stem} makes the start model")
        chain.run(needed, [], home)
    baselines = not options.arms and part not in OF_ONE_QUESTION
    settings = flow.Settings(
        chosen, options.seeds, grid(part, options.rates), baselines, tuple(options.set), options.jobs
    )
    made = home.path / "comparisons" / part

    def announced(line: str) -> None:
        lines.add()
        announce(line)

    flow.compare(file, settings, home, made, announced)
    options.out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(made / "comparison.json", options.out / f"{part}.json")
    lines.drop()


def grid(part: str, rates: str | None) -> tuple[float, ...]:
    """Return the rates of a part, times the file's: those of the command line, else the part's own."""
    return tuple(float(rate) for rate in (rates or OWN_RATES.get(part, RATES)).split(","))


def _announcing(part: str, until: float) -> Callable[[str], None]:
    """Return what tells of every unit, and stops once the time is up."""

    def announce(line: str) -> None:
        print(f"{part}: {line}", file=sys.stderr, flush=True)
        if time.monotonic() > until:
            raise _TimeIsUp

    return announce


def best(path: Path) -> list[str]:
    """Return the arms that did best on `valid` of a part: first those that keep the contract, then by gain."""
    if not path.is_file():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))["arms"]
    ranked = sorted((arm for arm in found if arm["rates"] and arm["target"]), key=_on_valid, reverse=True)
    return [arm["name"] for arm in ranked[: arms.BEST]]


def _on_valid(arm: dict[str, Any]) -> tuple[bool, float]:
    seen = next(rate for rate in arm["rates"] if rate["factor"] == arm["factor"])
    return bool(seen["kept"]), seen["gain"]


def documents(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what is kept of every part that has run."""
    found = {part: folder / f"{part}.json" for part in PARTS}
    return {part: json.loads(path.read_text(encoding="utf-8")) for part, path in found.items() if path.is_file()}


if __name__ == "__main__":
    sys.exit(main())
