"""SIGKILL of worker, Prefect server, MLflow server and run, at each stage of an adaptation that an alarm started.

    .venv/bin/python -m benchmarks.loop.kill                                     # every stage, every victim
    .venv/bin/python -m benchmarks.loop.kill --stages tune gate --victims all    # some of them

On a tiny encoder, in a home of its own with `holdfast up`. For every stage and victim an adaptation is asked for by
hand; its run stops where the stage begins (`trap/sitecustomize.py`); the victims are killed, the run goes on unless it
is one of them, and `holdfast up` is called again. Then the adaptation must end in the book, once; MLflow's alias must
be the ledger's champion, one generation later at most; no run may be left without an end, no slot be held.

Writes `loop-kill.json` and `loop-kill.md` into `benchmarks/results` after each; what is in the former is not tried
again unless `--again` is given. Exits with 1 where anything was wrong. A trial takes two to four minutes of waiting.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.kill import world
from benchmarks.loop.live import ROOT, Live
from holdfast.drift.settings import Checks
from holdfast.registry import ledger

STAGES = ("prepare", "validate", "assess", "select", "tune", "evaluate", "register", "gate")
VICTIMS = ("worker", "prefect", "mlflow", "run", "all")
RESULTS = ROOT / "benchmarks" / "results"


def main() -> int:
    """Run what is asked for, write the table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", nargs="*", default=STAGES, choices=STAGES)
    parser.add_argument("--victims", nargs="*", default=VICTIMS, choices=VICTIMS)
    parser.add_argument("--again", action="store_true", help="try also what has been tried")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    kept = options.out / "loop-kill.json"
    found = json.loads(kept.read_text()) if kept.is_file() and not options.again else {}
    wanted = [(s, v) for s in options.stages for v in options.victims if v not in found.get(s, {})]
    if wanted:
        live = _begin(Path(tempfile.mkdtemp(prefix="holdfast-loop-kill-")))
        try:
            for stage, victim in wanted:
                row = _trial(live, stage, victim)
                found.setdefault(stage, {})[victim] = row
                print(f"{stage}, {victim}: {row}", file=sys.stderr, flush=True)
                _write(found, options.out)
        finally:
            live.call("down", code=None)
    return 0 if all(row["wrong"] == [] for rows in found.values() for row in rows.values()) else 1


def _begin(folder: Path) -> Live:
    """Make a world with a champion and a labelled window of production data, its servers up."""
    file = world.make(folder)
    (folder / "production").mkdir()
    raw = yaml.safe_load(file.read_text())
    retrain = {"labelled": 20, "cooldown": "1m", "margin": 0.99}
    blind = dict.fromkeys(Checks.model_fields, False)  # or drift asks for adaptations beside those asked for by hand
    raw["monitor"] = {"source": "production/", "window": {"rows": 40}, "checks": blind, "retrain": retrain}
    file.write_text(yaml.safe_dump(raw))
    path = f"{ROOT / 'benchmarks' / 'loop' / 'trap'}:{ROOT}"
    live = Live(file, "first", "60s", PYTHONPATH=path, HOLDFAST_TRAP=str(folder / "trap"))
    live.up()
    live.call("run", str(file))
    return live


def _trial(live: Live, stage: str, victim: str) -> dict[str, Any]:
    """Adapt, kill the victim at a stage, start again; return the seconds, how often it began, and what was wrong."""
    before, generation, begun = len(live.events()), _generation(live), time.monotonic()
    trap = live.folder / "trap"
    trap.write_text(stage)
    _produce(live, f"{stage}-{victim}")
    live.call("monitor", str(live.file), "--why", f"{victim} at {stage}", code=4)
    sprung = trap.with_suffix(".sprung")
    live.until(sprung.exists, f"a run at {stage}")
    sprung.unlink()
    _kill(live, victim)
    live.up()
    live.until(lambda: "end" in live.events()[before:], f"the end of the adaptation after {victim} at {stage}")
    live.until(lambda: live.ended("adapt-drift", 1) and live.ended("adapt", 1), "the ends of all runs")
    live.until(lambda: not live.stuck(), "every slot given back")
    events = live.events()[before:]
    seconds = round(time.monotonic() - begun)
    return {"seconds": seconds, "begun": events.count("begin"), "wrong": _wrong(live, events, generation)}


def _produce(live: Live, name: str) -> None:
    """Drop a window of labelled rows that were not there before."""
    rows = [f"{word} {thing} {name} {i},{label}" for i in range(3) for label, words in world.CUES.items()
            for word in words for thing in world.THINGS]  # fmt: skip
    (live.folder / "production" / f"{name}.csv").write_text("\n".join(["text,label", *rows]) + "\n")


def _kill(live: Live, victim: str) -> None:
    """Kill at once; a run that is no victim goes on."""
    runs, services = live.alive(run=True), live.state().processes
    if victim in services:
        live.kill([services[victim]])
    else:
        live.kill(runs if victim == "run" else [*live.alive(run=False), *runs])
    live.kill([pid for pid in runs if pid in live.alive(run=True)], signal.SIGCONT)


def _generation(live: Live) -> int:
    entry = ledger.at(live.home).champion(live.name)
    return entry.generation if entry else 0


def _wrong(live: Live, events: list[str], generation: int) -> list[str]:
    """Return what is not as it should be after an adaptation."""
    entry = ledger.at(live.home).champion(live.name)
    checks = {
        "ended more than once": events.count("end") == 1 and events[-1] == "end",
        "failed": "fail" not in events,
        "more than one promotion": _generation(live) - generation <= 1,
        "alias is not the ledger's champion": entry is not None and live.champion() == entry.version,
        "MLflow runs left open": _open_runs(live) == 0,
    }
    return [what for what, right in checks.items() if not right]


def _open_runs(live: Live) -> int:
    found = live.ask("/api/2.0/mlflow/experiments/search", {"max_results": 100}, role="mlflow")
    ids = [experiment["experiment_id"] for experiment in found["experiments"]]
    wanted = {"experiment_ids": ids, "filter": "attributes.status = 'RUNNING'"}
    return len(live.ask("/api/2.0/mlflow/runs/search", wanted, role="mlflow").get("runs", []))


def _write(found: dict[str, dict[str, Any]], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "loop-kill.json").write_text(json.dumps(found, indent=1) + "\n")
    victims = [victim for victim in VICTIMS if any(victim in rows for rows in found.values())]
    lines = ["| stage | " + " | ".join(victims) + " |", "|---" * (len(victims) + 1) + "|"]
    for stage in (stage for stage in STAGES if stage in found):
        lines.append("| " + " | ".join([stage, *(_cell(found[stage].get(victim)) for victim in victims)]) + " |")
    said = (
        "What is killed (columns) when an adaptation comes to a stage (rows): seconds until it had ended, in the\n"
        "book and at the servers; `x2` where another run finished it.\n\n"
    )
    (out / "loop-kill.md").write_text(said + "\n".join(lines) + "\n")


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    again = f" x{row['begun']}" if row["begun"] > 1 else ""
    return ", ".join(row["wrong"]) or f"{row['seconds']}{again}"


if __name__ == "__main__":
    sys.exit(main())
