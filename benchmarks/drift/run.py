"""Do the drift checks keep quiet, and do they see? Writes results/drift-WORLD.json and .png (and prints the table).

    HOLDFAST_DATA=../shared/data .venv/bin/python benchmarks/drift/run.py     # tweets and MiniLM: the world `real`
    .venv/bin/python benchmarks/drift/run.py --world made                     # needs nothing

`worlds.py` says what the worlds hold. Windows have 500 rows; all settings are the defaults of `monitor:`.

- Without drift: windows drawn from a pool disjoint from the reference; how many alarm at all. The same reference serves
  all of them, so their alarms are not independent: the nominal share is one over references too.
- Power, by the strength of a change: `sudden` is the share of rows in another language, `covariate` of rows with other
  subjects (label shares may follow), `label` the points that one label's share gains from another's, rows drawn within
  labels; each is the share of changed windows that alarm. `gradual` is a ramp over ten windows up to that share of
  another language: the share of ramps with an episode (two alarms in three windows) by its middle. `recurring` is
  three changed windows, three calm ones, three changed: the share of runs with an episode in both changed stretches
  and fewer than two alarms in the calm one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.drift import worlds
from benchmarks.drift.worlds import World
from holdfast.drift import checks

RESULTS = Path(__file__).resolve().parents[1] / "results"
STRENGTHS = {
    "sudden": (0.02, 0.05, 0.1, 0.15, 0.2, 0.3),
    "gradual": (0.1, 0.2, 0.4, 0.6, 1.0),
    "recurring": (0.05, 0.1, 0.15, 0.2, 0.3),
    "covariate": (0.1, 0.2, 0.4, 0.6, 0.8, 1.0),
    "label": (0.05, 0.1, 0.15, 0.2, 0.25, 0.3),
}


def main() -> None:
    """Measure one world; write its numbers and its picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--world", choices=["made", "real"], default="real" if os.environ.get("HOLDFAST_DATA") else "made"
    )
    parser.add_argument("--calm", type=int, default=300, help="windows without drift")
    parser.add_argument("--repeats", type=int, default=20, help="windows, ramps or runs per strength")
    options = parser.parse_args()
    begun = time.process_time()
    world = worlds.made() if options.world == "made" else worlds.real()
    found = {
        "world": options.world,
        "rows": {"window": 500, "reference": len(world.reference), "pool": len(world.pool)},
        "calm": calm(world, options.calm),
        "power": {kind: power(world, kind, options.repeats) for kind in STRENGTHS},
        "repeats": options.repeats,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.platform()}",
    }
    found["cpu_seconds"] = round(time.process_time() - begun)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"drift-{options.world}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    draw(found, RESULTS / f"drift-{options.world}.png")
    print(table(found))


def calm(world: World, windows: int) -> dict[str, Any]:
    """Return how many windows without drift alarmed, which checks did it, and the p-values' share below 5%."""
    rng = np.random.default_rng(1)
    alarms = 0
    by_check: dict[str, int] = {}
    low: dict[str, int] = {}
    for _ in range(windows):
        found = checks.run(world.reference, worlds.drawn(world.pool, 500, rng), worlds.MONITOR)
        alarms += found.alarm
        for finding in found.findings:
            if not finding.skipped:
                by_check[finding.check] = by_check.get(finding.check, 0) + finding.drifted
                low[finding.check] = low.get(finding.check, 0) + (finding.p < 0.05)
    shares = {name: round(count / windows, 4) for name, count in low.items()}
    return {"windows": windows, "alarms": alarms, "by_check": by_check, "p_below_0.05": shares}


def power(world: World, kind: str, repeats: int) -> dict[str, Any]:
    """Return, by strength, the share of repeats in which the change was seen, and which checks saw it."""
    found: dict[str, Any] = {}
    for strength in STRENGTHS[kind]:
        rng = np.random.default_rng(int(strength * 1000))
        seen = [worlds.SEEN[kind](world, strength, rng) for _ in range(repeats)]
        names = sorted({name for _, by in seen for name in by})
        found[str(strength)] = {
            "power": round(sum(hit for hit, _ in seen) / repeats, 4),
            "by_check": {name: round(sum(name in by for _, by in seen) / repeats, 4) for name in names},
        }
    return found


def table(found: dict[str, Any]) -> str:
    """Return the numbers as a table in Markdown."""
    quiet = found["calm"]
    lines = [
        f"world `{found['world']}`: {quiet['alarms']} alarms in {quiet['windows']} windows without drift",
        "",
        "| change | power by strength | least strength with power 0.9 |",
        "|---|---|---|",
    ]
    for kind, curve in found["power"].items():
        points = ", ".join(f"{strength}: {point['power']:.2f}" for strength, point in curve.items())
        enough = [strength for strength, point in curve.items() if point["power"] >= 0.9]
        lines.append(f"| {kind} | {points} | {enough[0] if enough else 'none'} |")
    return "\n".join(lines)


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw the power curves."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for kind, curve in found["power"].items():
        axes.plot([float(strength) for strength in curve], [p["power"] for p in curve.values()], "o-", label=kind)
    axes.axhline(0.9, color="grey", linewidth=0.8, linestyle=":")
    quiet = found["calm"]
    axes.set_title(f"{found['world']}: {quiet['alarms']} alarms in {quiet['windows']} windows without drift")
    axes.set_xlabel("strength (share of changed rows; label: points moved)")
    axes.set_ylabel("share seen")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120, metadata={"Software": None})


if __name__ == "__main__":
    main()
