"""The picture of a search: what the target gained against what was retained, for every candidate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_KEPT, _LOST, _CHOSEN, _GREY = "#2a7f3f", "#b3261e", "#e0a100", "#6f6f6f"
_PATHS, _MARKERS = ("#1f5fa8", "#7b4fa3", "#0f8a8a", "#a05a2c", "#555577"), ("o", "s", "D", "^", "v")

Json = dict[str, Any]


def draw(trajectory: Json, path: Path) -> None:
    """Write the picture of a trajectory (see `holdfast.control.trajectory`) as PNG; equal ones give equal bytes.

    Across is the change in accuracy of the remembered task that comes nearest to its margin or is furthest beyond it,
    up the target's gain, both on `valid`. The contract is kept in the green band: right of half the margin.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    candidates = trajectory["candidates"]
    task, allowed = _tightest(candidates)
    for attempt in sorted({c["attempt"] for c in candidates}):
        _attempt(axes, attempt, [c for c in candidates if c["attempt"] == attempt], task)
    axes.plot(0, 0, "X", color="black", markersize=10, zorder=6, label="start model (never a candidate)")
    _choice(axes, next(c for c in candidates if c["chosen"]), task)
    _contract(axes, allowed)
    axes.set_xlabel(f"{task}: change in accuracy, points", parse_math=False)
    axes.set_ylabel("target: gain in accuracy, points")
    axes.set_title("What was learned against what was kept, on valid", fontsize=11, loc="left")
    axes.grid(alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)
    for colour, words in ((_KEPT, "keeps every contract"), (_LOST, "breaks a contract")):
        axes.plot([], [], "o", color=colour, label=words)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False, markerscale=0.75)
    figure.savefig(path, dpi=130, metadata={"Software": None})


def _tightest(candidates: list[Json]) -> tuple[str, float]:
    """Return the remembered task whose drop is the most of its margin anywhere, and half that margin in points."""
    tasks = [task for candidate in candidates for task in candidate["remembered"]]
    worst = max(tasks, key=lambda task: task["drop"] / task["margin"])
    return worst["name"], 50 * worst["margin"]


def _place(candidate: Json, task: str) -> tuple[float, float]:
    drop = next(one["drop"] for one in candidate["remembered"] if one["name"] == task)
    return -100 * drop, 100 * candidate["target"]["gain"]


def _attempt(axes: Axes, number: int, candidates: list[Json], task: str) -> None:
    """Draw one tuning: its way through the looks, a line from every point that was drawn back, every candidate."""
    suffix, turn = f", attempt {number}" if number > 1 else "", (number - 1) % len(_PATHS)
    points = sorted((c for c in candidates if c["share"] == 1), key=lambda c: c["step"])
    way = [(0.0, 0.0), *(_place(point, task) for point in points)]
    label = f"tuned, after so many updates{suffix}"
    axes.plot(*zip(*way, strict=True), color=_PATHS[turn], linewidth=1.6, alpha=0.7, label=label)
    label = f"drawn back, so much of the way{suffix}"
    for point in points:
        back = sorted((c for c in candidates if c["step"] == point["step"]), key=lambda c: -c["share"])
        if len(back) > 1:
            line = [*(_place(c, task) for c in back), (0.0, 0.0)]
            axes.plot(*zip(*line, strict=True), color=_GREY, linewidth=1.2, linestyle="--", label=label)
            label = ""
    _dots(axes, candidates, task, _MARKERS[turn])


def _dots(axes: Axes, candidates: list[Json], task: str, marker: str) -> None:
    """Draw every candidate, green where it keeps every contract; those at one place share their words."""
    words: dict[tuple[float, float], list[str]] = {}
    for candidate in candidates:
        place, whole = _place(candidate, task), candidate["share"] == 1
        colour = _KEPT if candidate["kept"] else _LOST
        axes.plot(*place, marker, color=colour, markeredgecolor="white", markersize=9 if whole else 7, zorder=4)
        words.setdefault(place, []).append(str(candidate["step"]) if whole else f"{100 * candidate['share']:.3g}%")
    for place, said in words.items():
        axes.annotate(", ".join(said), place, (8, -11), textcoords="offset points", fontsize=8, zorder=8)


def _choice(axes: Axes, chosen: Json, task: str) -> None:
    x, y = _place(chosen, task)
    axes.plot(
        x, y, "*", color=_CHOSEN, markeredgecolor="black", markersize=17, zorder=7, label=f"chosen: {chosen['name']}"
    )


def _contract(axes: Axes, allowed: float) -> None:
    """Draw the margin, half of it, and the band in which the contract is kept."""
    axes.margins(x=0.08, y=0.08)
    low, high = axes.get_xlim()
    low, high = min(low, -2.6 * allowed), max(high, allowed)
    axes.axvspan(-allowed, high, color=_KEPT, alpha=0.07, zorder=0)
    axes.axvline(-allowed, color=_KEPT, linewidth=1.2, linestyle="--", label=f"allowed on valid: {-allowed:.2g} points")
    axes.axvline(-2 * allowed, color="black", linewidth=1.5, label=f"the contract's margin: {-2 * allowed:.2g} points")
    axes.set_xlim(low, high)
