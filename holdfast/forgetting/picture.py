"""The picture of one evaluation: every task before and after, and its change with the bound and the margin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.records import RememberedScore, TargetScore

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TARGET, _KEPT, _LOST, _BEFORE = "#1f5fa8", "#2a7f3f", "#b3261e", "#8a8a8a"


def draw(target: TargetScore, remembered: tuple[RememberedScore, ...], baseline: str, path: Path) -> None:
    """Write the picture as PNG; equal scores give equal bytes (no time, no software version).

    `baseline` says what the target's `before` is: `start`, or what stood in for a head that was not there.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = ["target", *(task.name for task in remembered)]
    figure = Figure(figsize=(10, 1.7 + 0.55 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2, 3))
    _draw_scores(left, target, remembered, baseline)
    _draw_changes(right, target, remembered)
    left.set_yticks(range(len(names)), names, parse_math=False)
    left.set_ylim(len(names) - 0.4, -0.6)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _draw_scores(axes: Axes, target: TargetScore, remembered: tuple[RememberedScore, ...], baseline: str) -> None:
    scores: list[Any] = [target, *remembered]
    for row, score in enumerate(scores):
        if score.before < 0:
            said = f"{score.before:.3f} to {score.after:.3f} nats"
            axes.annotate(said, (0.5, row), xycoords=("axes fraction", "data"), ha="center", color=_colour(score))
            continue
        axes.plot([score.before, score.after], [row, row], color=_colour(score), linewidth=2)
        axes.plot(score.before, row, "o", color="white", markeredgecolor=_BEFORE, markeredgewidth=2, markersize=9)
        axes.plot(score.after, row, "o", color=_colour(score), markersize=9)
    note = "" if baseline == "start" else f"\n(target before: the {baseline})"
    named = target.metric if all(score.metric == target.metric for score in scores) else "score"
    axes.set_title(f"{named}: before (hollow), after (filled){note}", fontsize=10)
    axes.set_xlim(-0.03, 1.03)
    axes.grid(axis="x", alpha=0.3)


def _draw_changes(axes: Axes, target: TargetScore, remembered: tuple[RememberedScore, ...]) -> None:
    """Draw changes in points: the target's two-sided interval, and for a promise its bound (bar) against its margin."""
    low, high = (100 * end for end in target.interval)
    axes.plot([low, high], [0, 0], "|-", color=_TARGET, markersize=12, linewidth=2)
    axes.plot(100 * target.gain, 0, "o", color=_TARGET, markersize=9)
    _say(axes, 0, f"gain {100 * target.gain:+.1f}, 95% interval {low:+.1f} to {high:+.1f}", _TARGET)
    for row, task in enumerate(remembered, 1):
        colour = _colour(task)
        axes.plot([-100 * task.bound, -100 * task.drop], [row, row], "-", color=colour, linewidth=2)
        axes.plot(-100 * task.bound, row, "|", color=colour, markersize=12, markeredgewidth=2)
        axes.plot(-100 * task.drop, row, "o", color=colour, markersize=9)
        axes.plot([-100 * task.margin] * 2, [row - 0.35, row + 0.35], color="black", linewidth=2.5)
        words = "kept" if task.kept else "NOT KEPT"
        _say(
            axes,
            row,
            f"{words}: drop {100 * task.drop:.1f}, bound {100 * task.bound:.1f}, margin {100 * task.margin:g}",
            colour,
        )
    axes.axvline(0, color=_BEFORE, linewidth=1, linestyle=":")
    axes.set_title("change in points; bar: bound, black line: margin", fontsize=10)
    axes.grid(axis="x", alpha=0.3)
    axes.margins(x=0.08)


def _say(axes: Axes, row: int, words: str, colour: str) -> None:
    axes.annotate(words, (0.5, row - 0.33), xycoords=("axes fraction", "data"), ha="center", fontsize=8, color=colour)


def _colour(score: TargetScore | RememberedScore) -> str:
    if isinstance(score, TargetScore):
        return _TARGET
    return _KEPT if score.kept else _LOST
