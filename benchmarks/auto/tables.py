"""The benchmark's tables and its picture, from the units that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

RIGHT = {"input": "low", "output": "high"}
LANGUAGES = ("indonesian", "javanese", "sundanese")
FIXED = ("full", "high", "attention", "norms", "low")
ARMS = ("auto", *FIXED)
WORDS = {
    "full": "everything",
    "high": "top two layers and pooler",
    "attention": "attention and layer norms",
    "norms": "layer norms",
    "low": "embeddings and first layer",
}
Found = dict[tuple[str, int, str], Any]


def shifts(found: Found) -> list[str]:
    """Return the table of the made shifts: what was chosen per seed, and what low and high give when tuned in full."""
    lines = [
        "| shift | should move | chosen, seed by seed | right | low: test accuracy | high | ends agree |",
        "|---|---|---|---|---|---|---|",
    ]
    for part, right in RIGHT.items():
        seeds = _seeds(found, part, "auto")
        chosen = [found[part, seed, "auto"]["chosen"] for seed in seeds]
        ends = {end: [_target(found, part, seed, end) for seed in seeds] for end in ("low", "high")}
        pairs = zip(ends["low"], ends["high"], strict=True)
        agree = [(low > high) == (right == "low") for low, high in pairs if low is not None and high is not None]
        hits = f"{chosen.count(right)}/{len(seeds)}"
        cells = [part, right, ", ".join(chosen), hits, percent(ends["low"]), percent(ends["high"])]
        if seeds:
            lines.append(f"| {' | '.join(cells)} | {sum(agree)}/{len(agree)} |")
    return [*lines, "", "Ends agree: seeds at which the end that should move is the better one, tuned in full."]


def nusax(found: Found) -> list[str]:
    """Return the table of the NusaX part, and the regret to the best fixed selection."""
    lines = ["| selection | " + " | ".join(LANGUAGES) + " | mean | English lost |", "|---|---|---|---|---|---|"]
    for arm in ARMS:
        cells = [percent([score(found, part, seed, arm) for seed in whole(found)]) for part in LANGUAGES]
        lost = percent([value for seed in whole(found) if (value := _mean(found, seed, arm, drop)) is not None])
        means = [_mean(found, seed, arm, score) for seed in whole(found)]
        name = f"{arm}: {WORDS[arm]}" if arm in WORDS else "`auto`"
        lines.append(f"| {name} | {' | '.join(cells)} | {percent(means)} | {lost} |")
    seeds = whole(found)
    if not seeds:
        return ["NusaX: no seed is complete yet."]
    above = [_mean(found, seed, "auto", score) - _mean_of_fixed(found, seed) for seed in seeds]
    chosen = [f"{part} {', '.join(found[part, seed, 'auto']['chosen'] for seed in seeds)}" for part in LANGUAGES]
    return [
        *lines,
        "",
        f"Seeds {', '.join(map(str, seeds))}. `auto` above the mean of the five: {percent(above, sign=True)} points. "
        f"Regret to the best of the five: {percent(regrets(found))} points over seeds; "
        f"{percent(regrets(found, each=True))} over seeds and languages.",
        f"Chosen, seed by seed: {'; '.join(chosen)}.",
    ]


def whole(found: Found) -> list[int]:
    """Return the seeds at which every language has every score."""
    seeds = sorted({seed for part, seed, _ in found if part in LANGUAGES})
    return [seed for seed in seeds if all(len(scores(found, part, seed)) == len(ARMS) for part in LANGUAGES)]


def scores(found: Found, part: str, seed: int) -> dict[str, float]:
    """Return the target test accuracy of every arm that has run."""
    every = {arm: score(found, part, seed, arm) for arm in ARMS}
    return {arm: value for arm, value in every.items() if value is not None}


def score(found: Found, part: str, seed: int, arm: str) -> float | None:
    """Return an arm's target test accuracy; that of `auto` is its choice's. None where it has not run."""
    return _target(found, part, seed, _resolved(found, part, seed, arm))


def drop(found: Found, part: str, seed: int, arm: str) -> float | None:
    """Return how much English test accuracy an arm lost."""
    line = found.get((part, seed, _resolved(found, part, seed, arm)))
    return line and line["test"]["english"]["before"] - line["test"]["english"]["after"]


def regrets(found: Found, each: bool = False) -> list[float]:
    """Return the best fixed accuracy minus that of `auto`: per seed (mean over languages), or per seed and language."""
    own = [[scores(found, part, seed) for part in LANGUAGES] for seed in whole(found)]
    rows = [[max(one[arm] for arm in FIXED) - one["auto"] for one in row] for row in own]
    return [value for row in rows for value in row] if each else [float(np.mean(row)) for row in rows]


def _resolved(found: Found, part: str, seed: int, arm: str) -> str:
    return found.get((part, seed, "auto"), {}).get("chosen", "") if arm == "auto" else arm


def _target(found: Found, part: str, seed: int, what: str) -> float | None:
    line = found.get((part, seed, what))
    return line and line["test"]["target"]["after"]


def _mean(found: Found, seed: int, arm: str, value: Any) -> Any:
    values = [value(found, part, seed, arm) for part in LANGUAGES]
    return None if None in values else float(np.mean(values))


def _mean_of_fixed(found: Found, seed: int) -> float:
    return float(np.mean([_mean(found, seed, arm, score) for arm in FIXED]))


def _seeds(found: Found, part: str, what: str) -> list[int]:
    return sorted(seed for known, seed, unit in found if known == part and unit == what)


def percent(values: Sequence[float | None], sign: bool = False) -> str:
    """Return the mean in percent with the half-width of its 95% t interval; a dash where nothing was measured."""
    known = [100 * value for value in values if value is not None]
    if not known:
        return "-"
    mean = f"{np.mean(known):+.1f}" if sign else f"{np.mean(known):.1f}"
    if len(known) < 2:
        return mean
    return f"{mean} ± {stats.t.ppf(0.975, len(known) - 1) * stats.sem(known):.1f}"


def draw(found: Found, path: Path) -> None:
    """Draw the shifts (low against high, tuned in full, the chosen one marked) and NusaX (every arm, seed by seed)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(2, 3))
    _draw_shifts(left, found)
    _draw_nusax(right, found)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Software": None})


def _draw_shifts(axes: Any, found: Found) -> None:
    ticks = []
    for place, part in enumerate(RIGHT):
        for seed in _seeds(found, part, "auto"):
            low, high = (_target(found, part, seed, end) for end in ("low", "high"))
            if low is None or high is None:
                continue
            xs = [3 * place, 3 * place + 1]
            axes.plot(xs, [100 * low, 100 * high], color="0.75", linewidth=1)
            for x, end, value in zip(xs, ("low", "high"), (low, high), strict=True):
                mark = found[part, seed, "auto"]["chosen"] == end
                axes.plot(x, 100 * value, "o", color="#1f5fa8" if mark else "white", markeredgecolor="#1f5fa8")
        ticks += [(3 * place, "low"), (3 * place + 1, "high")]
        axes.text(3 * place + 0.5, 1.01, f"{part} shift", ha="center", transform=axes.get_xaxis_transform())
    axes.set_xticks([x for x, _ in ticks], [name for _, name in ticks])
    axes.set_ylabel("test accuracy after the whole tuning, %")
    axes.set_xlabel("what moves (filled: auto chose it)")
    axes.grid(axis="y", alpha=0.3)


def _draw_nusax(axes: Any, found: Found) -> None:
    for place, arm in enumerate(ARMS):
        for offset, part in zip((-0.2, 0, 0.2), LANGUAGES, strict=True):
            values = [100 * scores(found, part, seed)[arm] for seed in whole(found)]
            colour = "#b3561e" if arm == "auto" else "#5b5b5b"
            axes.plot([place + offset] * len(values), values, "o", markersize=4, color=colour, alpha=0.6)
            if values:
                axes.plot(place + offset, np.mean(values), "_", markersize=18, markeredgewidth=2, color=colour)
    axes.set_xticks(range(len(ARMS)), ARMS)
    axes.set_title(f"NusaX, per arm: {', '.join(LANGUAGES)} (left to right)", fontsize=10)
    axes.set_ylabel("test accuracy, %")
    axes.grid(axis="y", alpha=0.3)
