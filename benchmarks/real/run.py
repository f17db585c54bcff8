"""The real chain at several seeds, beside full fine-tuning without a contract: writes the README's table.

    HOLDFAST_DATA=../shared/data .venv/bin/python benchmarks/real/run.py   # five seeds: about an hour on two cores
    HOLDFAST_DATA=../shared/data .venv/bin/python benchmarks/real/run.py --home DIR --go-on   # after an interruption
    .venv/bin/python benchmarks/real/run.py --table                        # only the table again, from the numbers kept

English, then Indonesian remembering English, then Javanese remembering both, three times: as the files
`pipelines/sentiment-*.yaml` say (arm `holdfast`); moving every weight with neither anchor nor replay, at their rate
(`full`); and the same at a quarter of that rate (`low rate`), since a lower rate alone forgets less. Data, updates,
batch and seeds are the same; each arm goes on from its own version. Where that has lost a language down to chance,
nobody can promise to keep it and Holdfast refuses to begin: the step counts as not kept and not promoted, and is run
without that promise, so that its gain and its other losses are known.
Numbers go to `benchmarks/results/real.json`, the table to `real.md` beside it. Intervals are Student's t over seeds,
95%; a seed's own verdict is the paired test on its 400 items.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy import stats

from flows import pools
from holdfast.home import Home

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
STEPS = ("english", "indonesian", "javanese")
# Replay makes a third more rows an epoch; 5.25 epochs without it are the same 168 updates.
UNCONTROLLED = [
    "method=full",
    "parameters=full",
    "examples=gold",
    "anchors=[]",
    "schedule=plain",
    "training.epochs=5.25",
    "control.enabled=false",
    "assess.examples=8",  # nothing here depends on the assessment
]
ARMS = {"holdfast": [], "low rate": [*UNCONTROLLED, "training.learning_rate=5e-5"], "full": UNCONTROLLED}


def main() -> None:
    """Run the seeds, or only write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--table", action="store_true", help="only write the table again")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--home", type=Path, default=None)
    parser.add_argument("--go-on", action="store_true", help="keep the runs already in real.json; needs their --home")
    options = parser.parse_args()
    if options.go_on and options.home is None:
        parser.error("--go-on needs --home: later steps go on from the versions registered there")
    kept = RESULTS / "real.json"
    if not options.table:
        home = options.home or Path(tempfile.mkdtemp(prefix="holdfast-real-"))
        done = json.loads(kept.read_text())["runs"] if options.go_on and kept.exists() else []
        measure(options.seeds, options.jobs, home, done, kept)
    table = "\n".join(rows(json.loads(kept.read_text())["runs"]))
    (RESULTS / "real.md").write_text(table + "\n")
    print(table)


def measure(seeds: list[int], jobs: int, home: Path, done: list[dict[str, Any]], kept: Path) -> None:
    """Run every arm and seed that is not done; write the file whenever one has ended."""
    runs, had = list(done), {(run["arm"], run["seed"]) for run in done}
    todo = [(arm, seed, home / f"seed-{seed}") for arm in ARMS for seed in seeds if (arm, seed) not in had]
    RESULTS.mkdir(exist_ok=True)
    # A process per arm and seed: Prefect and MLflow take their home once, when they are imported.
    with pools.of(jobs, per_task=True) as pool:
        for found in pool.map(one_arm, *zip(*todo, strict=True)):
            runs += found
            kept.write_text(json.dumps({"machine": machine(), "runs": runs}, indent=1) + "\n")


def one_arm(arm: str, seed: int, place: Path) -> list[dict[str, Any]]:
    """Run an arm's steps with a seed, in the home of that seed; return one row per step."""
    from flows.cli import common

    home = common.enter(place)
    return [one_run(seed, arm, i, home) for i in range(arm != "holdfast", len(STEPS))]


def one_run(seed: int, arm: str, i: int, home: Home) -> dict[str, Any]:
    """Run step `i` of an arm; the arms without a contract go on from their own last version, promoted or not."""
    from flows import chain
    from holdfast.errors import BadInput

    file = ROOT / "pipelines" / f"sentiment-{STEPS[i]}.yaml"
    sets, suffix = [f"training.seed={seed}", *ARMS[arm]], arm.replace(" ", "-")
    if arm != "holdfast":
        sets.append(f"register.name=sentiment-{STEPS[i]}-{suffix}")
    if i > 0:
        own = f"-{suffix}" if arm != "holdfast" and i > 1 else ""
        sets.append(f"start.model=models:/sentiment-{STEPS[i - 1]}{own}/1")
    forgotten: dict[str, str] = {}
    try:
        result = chain.run(file, sets, home)
    except BadInput as error:
        lost = (error.key or "").removeprefix("remember.")
        if arm == "holdfast" or lost not in STEPS:
            raise
        forgotten = {lost: str(error)}
        result = chain.run(file, [*sets, f"remember={json.dumps(promises(file, without=lost))}"], home)
    found = row(seed, arm, STEPS[i], result.model_dump(mode="json")) | {"forgotten": forgotten}
    print(json.dumps(found), file=sys.stderr, flush=True)
    return found


def promises(file: Path, without: str) -> list[dict[str, Any]]:
    """Return what a pipeline file remembers, but for one task."""
    remembered = yaml.safe_load(file.read_text(encoding="utf-8"))["remember"]
    return [task for task in remembered if task["name"] != without]


def row(seed: int, arm: str, step: str, result: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept of one run."""
    seconds = {stage["name"]: stage["seconds"] for stage in result["stages"]}
    keys = ("verdict", "reason", "target", "remembered", "selection")
    return {"seed": seed, "arm": arm, "step": step, "seconds": seconds, **{key: result[key] for key in keys}}


def rows(runs: list[dict[str, Any]]) -> list[str]:
    """Return the table as Markdown lines: accuracy in percent, mean and 95% interval over seeds."""
    lines = [
        "| step | arm | moved | target after | gain | English lost | Indonesian lost | kept | promoted |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for step in STEPS:
        for arm in ARMS:
            chosen = [run for run in runs if run["step"] == step and run["arm"] == arm]
            if chosen:
                lines.append("| " + " | ".join(cells(step, arm, chosen)) + " |")
    return lines


def cells(step: str, arm: str, chosen: list[dict[str, Any]]) -> list[str]:
    """Return one table row."""
    able = [run for run in chosen if not run.get("forgotten")]
    kept = sum(all(task["kept"] for task in run["remembered"]) for run in able)
    promoted = sum(run["verdict"] == "promoted" for run in able)
    drops = [(task["name"], task["drop"]) for run in chosen for task in run["remembered"]]
    lost = [percent([drop for name, drop in drops if name == earlier]) for earlier in STEPS[:2]]
    return [
        step,
        arm,
        f"{100 * chosen[0]['selection']['share']:.1f}%",
        percent([run["target"]["after"] for run in chosen]),
        percent([run["target"]["gain"] for run in chosen]),
        *lost,
        f"{kept}/{len(chosen)}" if chosen[0]["remembered"] else "-",
        f"{promoted}/{len(chosen)}",
    ]


def percent(values: list[float]) -> str:
    """Return the mean in percent with the half-width of its 95% t interval over seeds."""
    if not values:
        return "-"
    mean = 100 * float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.1f}"
    half = 100 * float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return f"{mean:.1f} ± {half:.1f}"


def machine() -> dict[str, Any]:
    """Return what machine measured this."""
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    return {"processor": platform.processor() or platform.machine(), "capability": capability, "cores": os.cpu_count()}


if __name__ == "__main__":
    main()
