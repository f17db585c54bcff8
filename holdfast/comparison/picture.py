"""The picture of a comparison: what every arm gained against what it lost, on test and, at every rate, on valid."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.comparison.arms import REFERENCE
from holdfast.comparison.table import labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FRONT, _REST, _LINE = "#1f5fa8", "#8a8a8a", "#b3561e"
_MARKS = "os^vD<>pPX*hd"
_SIZE, _STEPS = 7, (0, 1, -1, 2, -2, 3, -3)  # of names, in points, and by how many lines one may be moved
_BESIDE = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1}  # what a name stands on
_READABLE = 24  # arms; of more only those on the frontier and plain tuning are named, and shown at every rate


def draw(document: dict[str, Any], path: Path) -> None:
    """Write the frontier as PNG: right keeps more, up gains more; the same document gives the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    shown = [arm for arm in document["arms"] if arm["target"]]
    named = _named(shown)
    _judged(left, shown, named)
    _rates(right, shown, named)
    for axes in (left, right):
        axes.set_xlabel("remembered: change in points (mean over tasks)")
        axes.set_ylabel("target: gain in points")
        axes.axvline(0, color=_REST, linewidth=1, linestyle=":")
        axes.grid(alpha=0.3)
        axes.margins(0.1)
    figure.suptitle(f"{document['pipeline']}: gain and retention", fontsize=11, parse_math=False)
    figure.draw_without_rendering()  # from here on a place in the axes is a place on the page
    _name(left, [arm for arm in shown if arm["name"] in named], labels(document))
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _judged(axes: Axes, shown: list[dict[str, Any]], named: set[str]) -> None:
    """Draw means on test with the target's intervals, and of a single remembered task its interval too."""
    for number, arm in enumerate(shown):
        x, y = _point(arm)
        colour = _FRONT if arm["frontier"] else _REST
        axes.plot(*_ends(arm["target"]["gain"], x, turned=True), color=colour, linewidth=1, alpha=0.5)
        if len(arm["remembered"]) == 1:
            axes.plot(*_ends(arm["remembered"][0]["drop"], y), color=colour, linewidth=1, alpha=0.5)
        axes.plot(x, y, _MARKS[number % len(_MARKS)], color=colour, markersize=7)
    front = sorted(_point(arm) for arm in shown if arm["frontier"])
    axes.plot([x for x, _ in front], [y for _, y in front], color=_LINE, linewidth=1.2, linestyle="--")
    axes.set_title("on test, at the rate chosen (blue: on the frontier)", fontsize=10)


def _name(axes: Axes, arms: list[dict[str, Any]], labels: dict[str, str]) -> None:
    """Write the names of arms beside their points, as few lines up or down as sets them apart."""
    from matplotlib.transforms import Bbox

    points = [axes.transData.transform(_point(arm)) * 72 / axes.figure.dpi for arm in arms]
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in points]
    for arm, (x, y) in sorted(zip(arms, points, strict=True), key=lambda one: not one[0]["frontier"]):
        width, height = 0.6 * _SIZE * len(labels[arm["name"]]), 1.2 * _SIZE
        places = [(side, steps * height) for steps in _STEPS for side in (6, -6 - width)]
        boxes = [Bbox.from_bounds(x + dx, y + dy - height / 2, width, height) for dx, dy in places]
        clashes = [sum(box.overlaps(other) for other in taken) for box in boxes]
        best = clashes.index(min(clashes))
        taken.append(boxes[best])
        side, lift = places[best]
        axes.annotate(
            labels[arm["name"]], _point(arm), (6 if side > 0 else -6, lift), textcoords="offset points", fontsize=_SIZE,
            color=_FRONT if arm["frontier"] else _REST, parse_math=False, in_layout=False, va="center",
            ha="left" if side > 0 else "right", bbox=_BESIDE,
        )  # fmt: skip


def _rates(axes: Axes, shown: list[dict[str, Any]], named: set[str]) -> None:
    """Draw every rate that was tried; the chosen one is filled."""
    for number, arm in enumerate(shown):
        if arm["name"] not in named:
            continue
        seen = [one for one in arm["rates"] if one["gain"] is not None]
        points = [(-100 * (one["drop"] or 0.0), 100 * one["gain"]) for one in seen]
        axes.plot([x for x, _ in points], [y for _, y in points], color=_REST, linewidth=0.8)
        for one, (x, y) in zip(seen, points, strict=True):
            fill = _FRONT if one["factor"] == arm["factor"] else "white"
            mark = _MARKS[number % len(_MARKS)]
            axes.plot(x, y, mark, color=fill, markeredgecolor=_FRONT, markersize=6)
    axes.set_title("on valid, at every rate of the grid (filled: chosen)", fontsize=10)


def _named(arms: list[dict[str, Any]]) -> set[str]:
    """Return the names of the arms that can be told apart in a picture of all of them."""
    crowded = len(arms) > _READABLE
    return {arm["name"] for arm in arms if arm["frontier"] or arm["name"] == REFERENCE or not crowded}


def _point(arm: dict[str, Any]) -> tuple[float, float]:
    return -100 * (arm["drop"] or 0.0), 100 * arm["target"]["gain"]["mean"]


def _ends(interval: dict[str, float], other: float, turned: bool = False) -> tuple[list[float], list[float]]:
    """Return the ends of an interval as a line: of a gain upright at x, of a drop level at y."""
    sign = 100 if turned else -100
    ends = [sign * interval["low"], sign * interval["high"]]
    return ([other, other], ends) if turned else (ends, [other, other])
