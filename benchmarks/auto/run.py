"""Does `parameters: auto` find what should move? Writes results/auto.json, auto.md, docs/auto.md and its picture.

    HOLDFAST_DATA=../shared/data .venv/bin/python benchmarks/auto/run.py            # about an hour on two idle cores
    ... --parts indonesian javanese sundanese --seeds 6 7 8 9 10                    # NusaX, as docs/auto.md shows it
    .venv/bin/python benchmarks/auto/run.py --parts input output --seeds 1          # the made shifts, one seed
    .venv/bin/python benchmarks/auto/run.py --table                                 # only the table, from what is kept

1. Two made shifts of the bundled English (`shifts.py`): `input`, where low layers should move, and `output`, where high
   ones should. `auto` chooses between low and high. What both give when tuned in full is measured too, on test, so that
   "right" is a fact and not an opinion. The rate, 1e-3, and the input shift's frames were settled at seed 1, looking at
   its valid and its test: the clean evidence is the other seeds.
2. NusaX: MiniLM tuned on English goes to Indonesian, Javanese and Sundanese; `auto` against five fixed selections at
   the same updates, batch and rate. Where `auto` chooses one of the five, its scores are that one's: the tuning is the
   same to the byte. Regret is the best fixed selection's test accuracy, known only afterwards, minus that of `auto`.

Every finished unit is a line of results/auto.jsonl and is not run again; `--again` drops them, as a change of the code
should. The controller is off in all arms. Trials see at most `auto.budget` of the tokens of one tuning. Tunings are
short here (about 60 updates), so the budget is 1.0, twice the default: a trial of two or three updates says nothing.
Intervals are Student's t, 95%, over seeds; for regret over the means per seed of the three languages.
"""

import argparse
import json
import os
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.auto import tables
from flows import pools

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
KEPT = RESULTS / "auto.jsonl"
PAGE = ROOT / "docs" / "auto.md"
MARKS = ("<!-- generated: auto -->", "<!-- end -->")
SHIFTS, LANGUAGES = ("input", "output"), ("indonesian", "javanese", "sundanese")
ENDS = ("low", "high")
FIXED = ("full", "high", "attention", "norms", "low")
SETTINGS: dict[str, dict[str, Any]] = {
    "start": {"epochs": 4, "learning_rate": 1e-4, "precision": "fp32"},
    "shift": {"epochs": 4, "learning_rate": 1e-3, "precision": "fp32"},
    "nusax": {"epochs": 2, "learning_rate": 2e-4, "precision": "fp32"},
    "auto": {"shift": {"budget": 1.0, "candidates": list(ENDS)}, "nusax": {"budget": 1.0}},
}

Unit = tuple[str, int, str]


def main() -> None:
    """Run what is missing, then write the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--parts", nargs="+", choices=[*SHIFTS, *LANGUAGES], default=[*SHIFTS, *LANGUAGES])
    parser.add_argument("--jobs", type=int, default=2, help="units at a time, one thread each")
    parser.add_argument("--home", type=Path, default=ROOT / ".holdfast" / "benchmark-auto")
    parser.add_argument("--again", action="store_true", help="drop what is kept and run everything")
    parser.add_argument("--table", action="store_true", help="only write the table again")
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    if options.again:
        KEPT.unlink(missing_ok=True)
    if not options.table:
        run(options.parts, options.seeds, options.jobs, options.home)
    write(kept())


def run(parts: list[str], seeds: list[int], jobs: int, home: Path) -> None:
    """Run every unit that is not kept: first the start models, then the choices, then the tunings that are needed."""
    with pools.of(jobs) as pool:
        starts = [("nusax" if part in LANGUAGES else "made", seed, "start") for part in parts for seed in seeds]
        _all(pool, list(dict.fromkeys(starts)), home)
        _all(pool, [(part, seed, "auto") for seed in seeds for part in parts], home)
        chosen = [(part, seed, arm) for seed in seeds for part in parts for arm in needed(part, seed, kept())]
        _all(pool, chosen, home)


def needed(part: str, seed: int, found: dict[Unit, Any]) -> list[str]:
    """Return the families to tune in full: the ends of a shift, the five of a language, and what `auto` chose."""
    chosen = found[part, seed, "auto"]["chosen"]
    return list(dict.fromkeys([*(ENDS if part in SHIFTS else FIXED), chosen]))


def _all(pool: ProcessPoolExecutor, units: list[Unit], home: Path) -> None:
    """Run the units that are not kept and add a line for each as it is done."""
    missing = [unit for unit in units if unit not in kept()]
    waiting = {pool.submit(one, unit, str(home)): unit for unit in missing}
    for done, future in enumerate(as_completed(waiting), 1):
        line = {"unit": waiting[future], **future.result()}
        with KEPT.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        print(f"{done}/{len(missing)} {' '.join(map(str, line['unit']))}: {brief(line)}", file=sys.stderr, flush=True)


def one(unit: Unit, home: str) -> dict[str, Any]:
    """Run one unit in a worker process."""
    os.environ["OMP_NUM_THREADS"] = "1"
    from benchmarks.auto import work
    from holdfast import home as homes

    (part, seed, what), place, settings = unit, homes.make(Path(home)), work.Settings(**SETTINGS)
    begun, spent = time.perf_counter(), time.process_time()
    if what == "start":
        work.english(part, seed, settings, place)
        found: dict[str, Any] = {}
    elif what == "auto":
        found = work.auto(part, seed, settings, place)
    else:
        found = work.fixed(part, seed, what, settings, place)
    both = {"wall": round(time.perf_counter() - begun, 1), "cpu": round(time.process_time() - spent, 1)}
    return {**found, **both, "settings": settings_of(*unit)}


def settings_of(part: str, seed: int, what: str) -> dict[str, Any]:
    """Return the settings that a unit depends on."""
    kind = "shift" if part in SHIFTS else "nusax"
    found: dict[str, Any] = {"start": SETTINGS["start"]}
    if what != "start":
        found["tuning"] = SETTINGS[kind]
    return found | ({"auto": SETTINGS["auto"][kind]} if what == "auto" else {})


def brief(line: dict[str, Any]) -> str:
    """Return what came out of a unit in a few words."""
    said = line.get("chosen") or json.dumps(line.get("test", "made"))
    return f"{said} ({line['wall']} s, {line['cpu']} s of processor)"


def kept() -> dict[Unit, Any]:
    """Return what is kept of the units that ran at these settings; a half-written last line is left out."""
    found = {}
    for text in KEPT.read_text(encoding="utf-8").splitlines() if KEPT.is_file() else []:
        try:
            line = json.loads(text)
        except ValueError:
            continue
        unit: Unit = tuple(line["unit"])
        if line["settings"] == settings_of(*unit):
            found[unit] = line
    return found


def write(found: dict[Unit, Any]) -> None:
    """Write the figures, the table and the picture, and print the table."""
    shown = {
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "settings": SETTINGS,
        "units": [{"unit": unit, **{k: v for k, v in line.items() if k not in ("unit", "settings")}}
                  for unit, line in sorted(found.items())],
    }  # fmt: skip
    (RESULTS / "auto.json").write_text(json.dumps(shown, indent=1) + "\n", encoding="utf-8")
    table = "\n".join([*tables.shifts(found), "", *tables.nusax(found)])
    (RESULTS / "auto.md").write_text(table + "\n", encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    (head, _), (_, tail) = (page.split(mark) for mark in MARKS)
    PAGE.write_text(f"{head}{MARKS[0]}\n{table}\n{MARKS[1]}{tail}", encoding="utf-8")
    print(table)
    tables.draw(found, ROOT / "docs" / "auto.png")


if __name__ == "__main__":
    main()
