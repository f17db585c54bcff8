"""Is the contract kept? The same tunings with the controller off and on, five seeds, made data and real.

    HOLDFAST_DATA=../shared/data .venv/bin/python benchmarks/contract/run.py    # about two hours on one core
    .venv/bin/python benchmarks/contract/run.py --table                    # only the table again, from the numbers kept
    .venv/bin/python benchmarks/contract/run.py --pairs made --seeds 1     # a part; what was run is not run again

The pairs: English, then Lirian (made; `pipelines/demo-english.yaml` and `demo-full.yaml`), and English, then Indonesian
(NusaX; `pipelines/sentiment-*.yaml`), both by moving every weight at the default rate of 2e-4 for four epochs, with
neither replay nor anchor, and English to be remembered with a margin of 5 points; and the bundled decoder that learns
exercises from gold answers (`pipelines/arithmetic-sft.yaml`) or by S3FT (`arithmetic.yaml`), as those files say, with
subtraction and strings to be remembered. The two arms differ in `control.enabled` alone and start from the same
version; the tables show what was lost of the first remembered task, and a contract is kept where every task is.

Numbers go to `benchmarks/results/contract.json` after every run, the table to `contract.md` beside it, the picture of
the first seed's search on the real pair to `docs/trajectory.png`. Gains, drops and verdicts are those of `test`, which
the controller never sees. Seconds are wall time inside the tune stage; the controller's share is of the tuning's.
"""

import argparse
import json
import os
import platform
import shutil
import sys
from concurrent.futures import FIRST_COMPLETED, wait
from pathlib import Path
from typing import Any

import numpy as np

from flows import pools

ROOT = Path(__file__).resolve().parents[2]
RESULTS, PICTURE = ROOT / "benchmarks" / "results", ROOT / "docs" / "trajectory.png"
FULL = ["method=full", "parameters=full", "examples=gold", "anchors=[]", "schedule=plain", "assess.examples=8"]
PAIRS = {  # the file that makes the start model, the file that tunes it, and what is set
    "made": ("demo-english", "demo-full", FULL),
    "real": ("sentiment-english", "sentiment-indonesian", FULL),
    "exercises, gold answers": (None, "arithmetic-sft", []),
    "exercises, S3FT": (None, "arithmetic", []),
}
ARMS = {"uncontrolled": "control.enabled=false", "controlled": "control.enabled=true"}


def main() -> None:
    """Run what was not run yet, or only write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--pairs", nargs="+", choices=list(PAIRS), default=list(PAIRS))
    parser.add_argument("--table", action="store_true", help="only write the table again")
    parser.add_argument("--jobs", type=int, default=1, help="seeds at a time; above 1 the seconds disturb each other")
    parser.add_argument("--home", type=Path, default=ROOT / ".holdfast" / "benchmarks" / "contract")
    options = parser.parse_args()
    kept = RESULTS / "contract.json"
    runs: list[dict[str, Any]] = json.loads(kept.read_text())["runs"] if kept.is_file() else []
    if not options.table:
        missing = [(pair, seed) for pair in options.pairs for seed in options.seeds if _missing(runs, pair, seed)]
        # A process per run: Prefect and MLflow take their home once, when they are imported.
        with pools.of(options.jobs, per_task=True) as pool:
            waiting = {(pair, seed): _missing(runs, pair, seed) for pair, seed in missing}
            under_way = {pool.submit(run_arm, *one, arms.pop(0), options.home): one for one, arms in waiting.items()}
            while under_way:  # the arms of a seed one after the other: they share a home
                (done, *_), _ = wait(under_way, return_when=FIRST_COMPLETED)
                one = under_way.pop(done)
                if waiting[one]:
                    under_way[pool.submit(run_arm, *one, waiting[one].pop(0), options.home)] = one
                runs = sorted([*runs, done.result()], key=lambda run: (run["pair"], run["seed"], run["arm"]))
                _write(kept, json.dumps({"runs": runs}, indent=1) + "\n")
    table = "\n".join(lines(runs)) + "\n"
    _write(kept.with_suffix(".md"), table)
    print(table)


def _missing(runs: list[dict[str, Any]], pair: str, seed: int) -> list[str]:
    done = {(run["pair"], run["seed"], run["arm"]) for run in runs}
    return [arm for arm in ARMS if (pair, seed, arm) not in done]


def run_arm(pair: str, seed: int, arm: str, place: Path) -> dict[str, Any]:
    """Run an arm of a pair with a seed in that seed's home, after the start model, which is made once."""
    from flows.cli import common

    name = pair.replace(", ", "-").replace(" ", "-").lower()
    home = common.enter(place / f"{name}-{seed}")
    from flows import chain

    first, then, own = PAIRS[pair]
    seeded = f"training.seed={seed}"
    sets = [seeded, *own, ARMS[arm], f"register.name={name}-{arm}"]
    if first:
        start = chain.run(ROOT / "pipelines" / f"{first}.yaml", [seeded], home)
        sets.append(f"start.model=models:/{first}/{start.version}")
    found = chain.run(ROOT / "pipelines" / f"{then}.yaml", sets, home).model_dump(mode="json")
    run = {"pair": pair, "seed": seed, "arm": arm, "machine": machine(), **row(found)}
    if arm == "controlled":
        run["controller"] = _controller(found, home, seed == 1 and pair == "real")
    print(json.dumps(run), file=sys.stderr, flush=True)
    return run


def row(result: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept of one run."""
    seconds = {stage["name"]: stage["seconds"] for stage in result["stages"]}
    return {"seconds": seconds, **{key: result[key] for key in ("verdict", "reason", "target", "remembered")}}


def _controller(result: dict[str, Any], home: Any, show: bool) -> dict[str, Any]:
    """Return what the controller of a run chose and spent, from the run's artifacts; copy its picture where asked."""
    from holdfast.registry import tracking

    folder = Path(tracking.client(home).download_artifacts(result["run_id"], "trajectory"))
    found = json.loads((folder / "trajectory.json").read_text(encoding="utf-8"))
    if show:
        shutil.copyfile(folder / "trajectory.png", PICTURE)
    rows = found["attempts"][0]["rows"]
    return {key: found[key] for key in ("chosen", "why", "spent")} | {"rows": rows, "attempts": len(found["attempts"])}


def lines(runs: list[dict[str, Any]]) -> list[str]:
    """Return the tables as Markdown: one line per pair and arm, then one per run."""
    found = [
        "| pair | arm | seeds | gain, points | lost, points | contract kept | kept, with a gain shown |"
        " controller / tuning |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for pair in PAIRS:
        for arm in ARMS:
            some = [run for run in runs if (run["pair"], run["arm"]) == (pair, arm)]
            if some:
                found.append(_cells([pair, arm, str(len(some)), *_summary(some)]))
    found += [
        "",
        "| pair | seed | arm | gain [95% interval] | lost, at most (95%) | margin | kept | chosen |"
        " controller / tuning, s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    return found + [_cells(_line(run)) for run in runs]


def _summary(runs: list[dict[str, Any]]) -> list[str]:
    kept = [all(task["kept"] for task in run["remembered"]) for run in runs]
    good = [k and run["target"]["lower"] > 0 for k, run in zip(kept, runs, strict=True)]
    spent = [run["controller"]["spent"]["seconds"]["share"] for run in runs if "controller" in run]
    return [
        _spread([run["target"]["gain"] for run in runs]),
        _spread([run["remembered"][0]["drop"] for run in runs]),
        f"{sum(kept)} of {len(runs)}",
        f"{sum(good)} of {len(runs)}",
        f"{100 * np.mean(spent):.0f}% (at most {100 * max(spent):.0f}%)" if spent else "-",
    ]


def _line(run: dict[str, Any]) -> list[str]:
    target, old, control = run["target"], run["remembered"][0], run.get("controller")
    low, high = target["interval"]
    seconds = control["spent"]["seconds"] if control else None
    return [
        run["pair"],
        str(run["seed"]),
        run["arm"],
        f"{100 * target['gain']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]",
        f"{100 * old['drop']:.1f}, {100 * old['bound']:.1f}",
        f"{100 * old['margin']:g}",
        "yes" if all(task["kept"] for task in run["remembered"]) else "NO",
        control["chosen"] if control else "the end",
        f"{seconds['controller']:.0f} / {seconds['tuning']:.0f}" if seconds else "-",
    ]


def _spread(values: list[float]) -> str:
    """Return the mean in points with the smallest and the largest value."""
    low, mean, high = (100 * float(f(values)) for f in (min, np.mean, max))
    return f"{mean:.1f} ({low:.1f} to {high:.1f})"


def _cells(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _write(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def machine() -> dict[str, Any]:
    """Return what machine measured this."""
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    return {"processor": platform.processor() or platform.machine(), "capability": capability, "cores": os.cpu_count()}


if __name__ == "__main__":
    main()
