"""Section 6: a comparison of ten named arms at five seeds, beside the same units apart, each in its own home."""

from __future__ import annotations

import csv
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.speed import world

ABOVE = (
    "sft:parameters.layers=[-1]",
    "sft:parameters.layers=[-2, -1]",
    "psft:parameters.layers=[-2, -1]",
    "dft:parameters.layers=[-2, -1]",
    "label-smoothing:parameters.layers=[-2, -1]",
    "lora:parameters.lora.layers=[4, 5]",
)
OTHERS = ("sft", "layernorm", "lora", "ia3")
SEEDS, ROWS, EPOCHS = 5, 160, 2


def _file() -> Path:
    """Write a pipeline file and its tables into a folder of their own."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-speed-"))
    for split, count in (("train", ROWS), ("valid", 32), ("test", 96)):
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, ["id", "text", "label"])
            table.writeheader()
            table.writerows(world.nusax(split)[:count])
    lines = ["name: speed", f"start: {{model: {world.encoder_folder()}}}"]
    lines += ["learn: {train: train.csv, valid: valid.csv, test: test.csv, head: mood}"]
    lines += [f"training: {{epochs: {EPOCHS}, precision: bf16}}", "assess: {examples: 32}"]
    (folder / "speed.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "speed.yaml"


def _compare(arms: tuple[str, ...], seeds: int, first: int) -> tuple[dict[str, list[float]], float]:
    """Compare arms in a fresh home; return the wall seconds of every unit by arm, and of everything."""
    from flows import compare
    from flows.cli import common
    from holdfast import home

    place, last = tempfile.mkdtemp(prefix="holdfast-speed-"), time.perf_counter()
    units: list[tuple[str, float]] = []
    found = common.enter(Path(place)) if not _entered else home.make(Path(place))
    _entered.append(place)

    def announce(line: str) -> None:
        units.append((line, time.perf_counter()))

    settings = compare.Settings(",".join(arms), seeds, (1.0,), baselines=False, overrides=(f"training.seed={first}",))
    compare.compare(_file(), settings, found, Path(place) / "out", announce)
    whole = time.perf_counter() - last
    spent: dict[str, list[float]] = {}
    for line, now in units:
        name = next((arm for arm in sorted(arms, key=len, reverse=True) if f" {arm} " in line), None)
        if name is not None:
            spent.setdefault(name, []).append(now - last)
        last = now
    return spent, whole


_entered: list[str] = []


def warm() -> None:
    """Compare one arm at one seed."""
    _compare(OTHERS[1:2], 1, 99)


def together(repetition: int) -> dict[str, Any]:
    """All ten arms at five seeds in one comparison."""
    spent, whole = _compare((*ABOVE, *OTHERS), SEEDS, 1)
    above = sum(sum(spent[arm]) for arm in ABOVE)
    return {
        "seconds": above,
        "all": whole,
        "units": len(ABOVE) * (SEEDS + 1),
        "arms": {n: sum(v) for n, v in spent.items()},
    }


def apart(repetition: int) -> dict[str, Any]:
    """Every arm with a cut above 0 at one seed by itself; what the five seeds would take."""
    alone = [_compare((arm,), 1, repetition + 1)[1] for arm in ABOVE]
    return {"seconds": SEEDS * sum(alone), "arms": dict(zip(ABOVE, alone, strict=True))}


def sides() -> dict[str, world.Side]:
    """One comparison, and its runs apart."""
    return {"together": together, "apart": apart}
