"""What Holdfast's tuning, assessment and evaluation cost beside what a user would pick instead, at its best setting.

    HOLDFAST_DATA=../shared/data .venv/bin/python benchmarks/speed/run.py             # 25 minutes on two cores
    ... run.py --only top-layers lora    # some sections;  --again anew;  `compiled` only where named
    ... run.py --seconds 100             # stop after the measurement that ends beyond it; the same command goes on
    ... run.py --table                   # only the table, from the numbers kept

Every measurement is kept in `benchmarks/results/speed.json` as soon as it is made; `speed.md` is the table. The sides
of a section alternate, five times; what is compared are medians. Two threads, batches of 16, bf16 unless a line says
fp32.
A section runs in a process of its own; where memory counts, so does every side.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["OMP_NUM_THREADS"] = "2"

from benchmarks.speed import sections, table, world

_USUAL = [name for name, section in sections.ALL.items() if not section.extra]
RESULTS = world.ROOT / "benchmarks" / "results" / "speed.json"


def read() -> dict[str, Any]:
    """Return what is kept: {section: {side: [figures of every repetition]}}, the seconds of sections, the machine."""
    if RESULTS.is_file():
        found: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
        return found
    return {"machine": {}, "sections": {}}


def keep(kept: dict[str, Any]) -> None:
    """Write what was measured, and the table of it."""
    part = RESULTS.with_suffix(".part")
    part.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    part.replace(RESULTS)
    RESULTS.with_suffix(".md").write_text(table.page(kept), encoding="utf-8")


def machine() -> dict[str, Any]:
    """Describe where this runs."""
    from importlib.metadata import version

    names = ("torch", "transformers", "peft", "trl", "lm_eval")
    asked = ["git", "-C", str(world.ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    about = {"cores": os.cpu_count(), "processor": platform.machine(), "commit": commit}
    return about | {name: version(name) for name in names}


def measure(name: str, deadline: float, most: int) -> bool:
    """Measure what is missing of a section, side after side; say whether it is complete."""
    section, kept = sections.ALL[name], read()
    found = kept["sections"].setdefault(name, {})
    sides: dict[str, Any] | None = None
    last = time.monotonic()
    for repetition in range(min(section.repetitions, most)):
        for side in section.names:
            if len(found.setdefault(side, [])) > repetition:
                continue
            if time.monotonic() > deadline:
                return False
            if section.alone:
                figures = world.child(name, side)
            else:
                sides = sides or _ready(name)
                figures = sides[side](repetition)
            found[side].append(figures)
            begun, last = last, time.monotonic()
            kept.setdefault("took", {})[name] = kept.get("took", {}).get(name, 0.0) + last - begun
            kept["machine"] = machine()
            keep(kept)
            print(f"{name} / {side} / {repetition + 1}: {figures}", flush=True)
    return True


def _ready(name: str) -> dict[str, Any]:
    """Return the sides of a section once threads and libraries are warm."""
    import torch

    torch.set_num_threads(world.THREADS)
    section = sections.ALL[name]
    section.warm()
    return section.sides()


def child(name: str, side: str) -> None:
    """Run one side once; print its figures, with the most memory that this process held."""
    import torch

    torch.set_num_threads(world.THREADS)
    figures = sections.ALL[name].sides()[side](0)
    print(json.dumps({**figures, "MiB": world.peak()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(sections.ALL), default=_USUAL)
    parser.add_argument("--again", action="store_true", help="forget what is kept of these sections")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--repetitions", type=int, default=5, help="at most so many of every side, for a first look")
    parser.add_argument("--table", action="store_true", help="only write the table")
    parser.add_argument("--section", help=argparse.SUPPRESS)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(*given.child)
        return
    deadline = time.monotonic() + given.seconds
    if given.section:
        sys.exit(0 if measure(given.section, deadline, given.repetitions) else 3)
    if given.again:
        kept = read()
        for part in ("sections", "took"):
            kept[part] = {name: own for name, own in kept.get(part, {}).items() if name not in given.only}
        keep(kept)
    for name in () if given.table else given.only:
        left = deadline - time.monotonic()
        if left <= 0:
            print("stopped; the same command goes on")
            break
        command = [sys.executable, __file__, "--section", name, "--seconds", str(left)]
        command += ["--repetitions", str(given.repetitions)]
        if subprocess.run(command, check=False).returncode not in (0, 3):
            print(f"{name} failed", file=sys.stderr)
    keep(read())


if __name__ == "__main__":
    main()
