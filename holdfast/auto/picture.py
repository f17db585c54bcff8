"""The picture of a choice: every candidate's score, its trials on `valid`, and what it did to what is remembered."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEAST_SCORE = 1e-3  # a logarithmic axis knows no 0
_CHOSEN, _TRIED, _BROKEN, _REST = "#1f5fa8", "#5b5b5b", "#b3261e", "#b5b5b5"


def draw(evidence: dict[str, Any]) -> bytes:
    """Return `auto.json` as a PNG, best ranked candidate on top; equal evidence gives equal bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = evidence["candidates"]
    figure = Figure(figsize=(11, 1.9 + 0.52 * len(rows)), dpi=110, layout="constrained")
    left, middle, right = figure.subplots(1, 3, sharey=True, width_ratios=(3, 3, 3))
    _scores(left, rows)
    _gains(middle, rows)
    _drops(right, rows)
    left.set_yticks(range(len(rows)), [_name(row) for row in rows], parse_math=False)
    left.set_ylim(len(rows) - 0.4, -0.6)
    for label, row in zip(left.get_yticklabels(), rows, strict=True):
        label.set_color(_colour(row))
        label.set_fontweight("bold" if row["verdict"] == "chosen" else "normal")
    figure.suptitle(_title(evidence), fontsize=11)
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None})
    return stream.getvalue()


def _title(evidence: dict[str, Any]) -> str:
    spent = evidence["work"]["spent"]["share"]
    return f"auto chose `{evidence['chosen']}`; the trials saw {100 * spent:.0f}% of the full tuning's tokens"


def _name(row: dict[str, Any]) -> str:
    return f"{row['family']} ({100 * row['share']:.3g}%)"


def _scores(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """Draw the score that ranked the candidates: 1 is moving everything."""
    for place, row in enumerate(rows):
        score = max(row["importance"]["score"], _LEAST_SCORE)
        axes.plot([1, score], [place, place], color=_colour(row), linewidth=3)
        axes.plot(score, place, "o", color=_colour(row), markersize=8)
        axes.annotate(f"{score:.2g}", (score, place), (0, 7), textcoords="offset points", ha="center", fontsize=7)
    axes.axvline(1, color=_REST, linewidth=1, linestyle=":")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.margins(x=0.12)
    axes.set_title("score from the importances\n(in brackets: share of the weights)", fontsize=10)
    axes.grid(axis="x", alpha=0.3)


def _gains(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """Draw the target's gain on valid after each trial: hollow after the first, filled after the last."""
    for place, row in enumerate(rows):
        seen = [one for one in row["trials"] if one["look"]]
        gains = [100 * one["look"]["target"]["gain"] for one in seen]
        axes.plot(gains, [place] * len(gains), color=_colour(row), linewidth=1.5)
        for i, (one, gain) in enumerate(zip(seen, gains, strict=True)):
            hollow = i < len(seen) - 1
            fill = "white" if hollow else _colour(row)
            axes.plot(gain, place, "o", color=fill, markeredgecolor=_colour(row), markersize=8)
            axes.annotate(
                f"{one['updates']}", (gain, place), (0, 6), textcoords="offset points", ha="center", fontsize=7
            )
        if not seen:
            said = "diverged" if row["trials"] else row["verdict"]
            axes.annotate(said, (0.5, place), xycoords=("axes fraction", "data"), ha="center", fontsize=8, color=_REST)
    axes.set_title("target: gain in accuracy on valid, points\n(at each point: updates of the trial)", fontsize=10)
    axes.grid(axis="x", alpha=0.3)
    axes.margins(x=0.12)


def _drops(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """Draw the drop of each remembered task after the last trial, against what the contract allows on valid."""
    allowed = set()
    for place, row in enumerate(rows):
        look = row["trials"][-1]["look"] if row["trials"] else None
        for task in look["remembered"] if look else []:
            axes.plot(100 * task["drop"], place, "o", color=_colour(row), markersize=8)
            allowed.add(50 * task["margin"])
    for margin in sorted(allowed):
        axes.axvline(margin, color="black", linewidth=2)
    said = "remembered: drop on valid, points\n(line: half the margin, the most allowed)"
    axes.set_title(said if allowed else "nothing is remembered", fontsize=10)
    axes.axvline(0, color=_REST, linewidth=1, linestyle=":")
    axes.grid(axis="x", alpha=0.3)
    axes.margins(x=0.12)


def _colour(row: dict[str, Any]) -> str:
    known = {"chosen": _CHOSEN, "tried": _TRIED, "tried: broke a contract": _BROKEN, "diverged": _BROKEN}
    return known.get(row["verdict"], _REST)
