"""The page of the loop's benchmark: a table and a verdict per part, between the markers of docs/loop.md."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.backtest.summary import interval, recovered

PARTS = {
    "tweets": "SemEval's tweets, 12 windows of 500 (2012, 2014, 2015)",
    "nusax": "NusaX, 12 windows of 50 (English, Indonesian, Javanese)",
}
COLUMNS = (
    "policy", "mean accuracy", "against never [95%]", "recovered", "retrains", "promoted", "rolled back",
    "earlier data, lost", "at worst", "CPU seconds",
)  # fmt: skip
_SHARE, _RETRAINS = 0.8, 1 / 3


def write(units: list[dict[str, Any]], page: Path, results: Path, machine: dict[str, Any]) -> None:
    """Write `loop.json` into `results` and the tables into `page`, between its markers."""
    found = {part: summary([unit for unit in units if unit["part"] == part]) for part in PARTS}
    found = {part: one for part, one in found.items() if one["seeds"]}
    text = json.dumps({"machine": machine, "parts": found}, indent=1)
    (results / "loop.json").write_text(text + "\n", encoding="utf-8")
    lines = [line for part, one in found.items() for line in _section(part, one)]
    marked = r"(?<=<!-- generated: loop -->\n).*?(?=<!-- end -->)"
    told = re.sub(marked, lambda _: "\n".join(lines) + "\n", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    page.write_text(told, encoding="utf-8")


def summary(units: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the seeds of a part come to: per policy, and whether the claim holds."""
    seeds = [unit["seed"] for unit in units]
    names = [one["policy"] for one in units[0]["policies"]] if units else []
    by_policy = {name: [_of(unit, name) for unit in units] for name in names}
    policies = {name: _policy(own, by_policy["never"], by_policy["always"]) for name, own in by_policy.items()}
    return {"seeds": seeds, "policies": policies, "claim": claim(policies) if policies else None}


def _of(unit: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in unit["policies"] if one["policy"] == name)


def _policy(own: list[dict[str, Any]], never: list[dict[str, Any]], always: list[dict[str, Any]]) -> dict[str, Any]:
    means = [[one["mean_accuracy"] for one in some] for some in (own, never, always)]
    gaps = [a - b for a, b in zip(means[0], means[1], strict=True)]
    averages = [float(np.mean(some)) for some in means]
    numbers = {key: [one[key] for one in own] for key in (
        "retrains", "promoted", "rolled_back", "alarms", "forgotten", "forgotten_at_worst", "seconds")}  # fmt: skip
    return {
        "mean_accuracy": round(averages[0], 4),
        "by_seed": means[0],
        "difference": round(float(np.mean(gaps)), 4),
        "interval": interval(gaps),
        "recovered": recovered(averages[1], averages[2], averages[0]),
        **numbers,
    }


def claim(policies: dict[str, Any]) -> dict[str, Any]:
    """Return whether the claim holds: see `benchmarks/loop/run.py`; None where too few seeds are done to tell."""
    always, own = policies["always"], policies["holdfast"]
    if always["interval"] is None:
        return {"holds": None, "said": "One seed tells nothing of the claim."}
    retrains = sum(own["retrains"]) / len(own["retrains"])
    share = sum(own["retrains"]) / max(sum(always["retrains"]), 1)
    if always["interval"][0] > 0:
        holds = own["recovered"] is not None and own["recovered"] >= _SHARE and share <= _RETRAINS
        said = (
            f"`always` beats `never` by an interval that excludes zero; Holdfast recovers "
            f"{100 * (own['recovered'] or 0):.0f}% of the difference (wanted: at least 80%) with {100 * share:.0f}% of "
            "the retrains (wanted: at most a third)."
        )
    else:
        holds = max(own["retrains"]) <= 1
        said = (
            f"`always` does not beat `never` by an interval that excludes zero; Holdfast retrains {retrains:.1f} times "
            f"on average and at most {max(own['retrains'])} times (wanted: at most once)."
        )
    return {"holds": bool(holds), "said": said}


def _section(part: str, found: dict[str, Any]) -> list[str]:
    verdict = {True: "The claim holds.", False: "**The claim does not hold here.**", None: ""}[found["claim"]["holds"]]
    seeds = ", ".join(map(str, found["seeds"]))
    return [
        f"### {PARTS[part]}",
        "",
        f"Seeds {seeds}; means over seeds, ranges in brackets; intervals are Student's t over seeds.",
        "",
        *(f"| {' | '.join(line)} |" for line in (COLUMNS, ["---"] * len(COLUMNS))),
        *(f"| {' | '.join(_line(name, one))} |" for name, one in found["policies"].items()),
        "",
        f"{verdict} {found['claim']['said']}".strip(),
        "",
        f"![The first seed's timeline](loop-{part}.png)",
        "",
    ]


def _line(name: str, one: dict[str, Any]) -> list[str]:
    ends = "" if one["interval"] is None else " [{:+.1f}, {:+.1f}]".format(*(100 * end for end in one["interval"]))
    return [
        name,
        f"{one['mean_accuracy']:.4f}",
        "-" if name == "never" else f"{100 * one['difference']:+.1f}{ends}",
        "-" if one["recovered"] is None else f"{100 * one['recovered']:.0f}%",
        *(_range(one[key], 1, "{:.1f}") for key in ("retrains", "promoted", "rolled_back")),
        *(_range(one[key], 100, "{:.1f}") for key in ("forgotten", "forgotten_at_worst")),
        _range(one["seconds"], 1, "{:.0f}"),
    ]


def _range(values: list[float], factor: float, form: str) -> str:
    low, high = (form.format(factor * end) for end in (min(values), max(values)))
    middle = form.format(factor * float(np.mean(values)))
    return middle if low == high else f"{middle} ({low} to {high})"
