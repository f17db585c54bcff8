"""Start-up and overhead: the command line, a whole adaptation outside its stages, nothing to do, and memory."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.speed import world
from benchmarks.speed.world import Side

HOLDFAST = Path(sys.executable).with_name("holdfast")


def _command(*words: str) -> tuple[str, dict[str, float]]:
    """Run `holdfast` and return what it printed, its wall seconds, and the most memory that any process of it held."""
    begun = time.perf_counter()
    process = subprocess.Popen([str(HOLDFAST), *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    said = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 3):
        raise RuntimeError(f"holdfast {' '.join(words)} ended with {process.returncode}: {said[-500:]}")
    return said, {"seconds": time.perf_counter() - begun, "MiB": usage.ru_maxrss / 1024}


def help_() -> dict[str, Side]:
    """`holdfast --help`."""
    return {"holdfast --help": lambda repetition: _command("--help")[1]}


def _pipeline(folder: Path, count: int | None) -> Path:
    import csv

    for split in ("train", "valid", "test"):
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, ["id", "text", "label"])
            table.writeheader()
            table.writerows(world.nusax(split)[:count])
    lines = ["name: speed", f"start: {{model: {world.encoder_folder()}}}"]
    lines += [
        "learn: {train: train.csv, valid: valid.csv, test: test.csv, head: mood}",
        "parameters: {layers: [-2, -1]}",
    ]
    lines += ["training: {epochs: 2, precision: bf16}"]
    (folder / "p.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "p.yaml"


def adaptation(count: int | None = None) -> dict[str, Side]:
    """A whole adaptation in a fresh home: outside its stages, then once more with nothing to do, and its memory.

    `count` rows of each table, where it is given.
    """
    last: dict[str, Any] = {}

    def outside(repetition: int) -> dict[str, Any]:
        folder = Path(tempfile.mkdtemp(prefix="holdfast-speed-"))
        last["words"] = ("run", str(_pipeline(folder, count)), "--home", str(folder / "home"), "--json")
        said, cost = _command(*last["words"])
        inside = sum(stage["seconds"] for stage in json.loads(said)["stages"])
        return {"seconds": cost["seconds"] - inside, "whole": cost["seconds"], "inside": inside, "MiB": cost["MiB"]}

    def again(repetition: int) -> dict[str, Any]:
        if not last:
            outside(repetition)
        return _command(*last["words"])[1]

    return {"wall minus stages": outside, "nothing to do": again}


def memory() -> dict[str, Side]:
    """The tuning of the same layers alone, in a process that does nothing else."""

    def alone(repetition: int) -> dict[str, Any]:
        from benchmarks.speed import ours, tuning

        ours.classifier(tuning.TOP, 2, 7, tuning.RATE).run()
        return {"seconds": 0.0, "MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}

    return {"tuning alone": alone}
