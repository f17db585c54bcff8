"""The timeline of a backtest: accuracy per window under every policy, with alarms, retrains and rollbacks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"never": "#8a8a8a", "always": "#b3561e", "calendar": "#5a8f3c", "holdfast": "#1f5fa8"}
_EVENTS = (
    ("promoted", "^", "full", "retrained, promoted"),
    ("refused", "^", "none", "retrained, refused or failed"),
    ("rolled back", "x", "full", "rolled back"),
)


def draw(document: dict[str, Any], path: Path) -> None:
    """Write the timeline as PNG; the same document gives the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    policies = document["policies"]
    figure = Figure(figsize=(12, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    top, low = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1.3))
    for one in policies:
        windows = one["windows"]
        told = f"{one['policy']}: {one['mean_accuracy']:.3f}, {one['retrains']} retrains"
        top.plot(
            [w["number"] for w in windows], [w["accuracy"] for w in windows], marker="o", markersize=3,
            linewidth=2 if one["policy"] == "holdfast" else 1.2, color=_COLOURS[one["policy"]], label=told,
        )  # fmt: skip
    top.set_ylabel("accuracy, before learning from the window")
    top.grid(alpha=0.3)
    top.legend(fontsize=8, loc="lower left")
    _events(low, policies)
    _dates(low, policies[0]["windows"])
    figure.suptitle(f"{document['pipeline']}: {document['stream']} replayed", fontsize=11, parse_math=False)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _events(axes: Axes, policies: list[dict[str, Any]]) -> None:
    """Draw a line per policy with what happened in which window; alarms are dots."""
    seen: set[str] = set()
    for height, one in enumerate(reversed(policies)):
        colour = _COLOURS[one["policy"]]
        alarms = [w["number"] for w in one["windows"] if w["drifted"]]
        axes.plot(alarms, [height - 0.25] * len(alarms), "|", color="#c22", markersize=7, label=_once("alarm", seen))
        for kind, mark, fill, label in _EVENTS:
            at = [w["number"] for w in one["windows"] if kind in _happened(w)]
            axes.plot(
                at, [height] * len(at), mark, color=colour, fillstyle=fill, markersize=7, linestyle="",
                label=_once(label, seen) if at else None,
            )  # fmt: skip
    axes.set_yticks(range(len(policies)), [one["policy"] for one in reversed(policies)])
    axes.set_ylim(-0.6, len(policies) - 0.4)
    axes.grid(alpha=0.3, axis="x")
    axes.legend(fontsize=7, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.28))


def _happened(window: dict[str, Any]) -> set[str]:
    kinds = {"failed": "refused"}
    found = {kinds.get(window["retrained"], window["retrained"])} if window["retrained"] else set()
    return found | ({"rolled back"} if window["rolled_back"] else set())


def _once(label: str, seen: set[str]) -> str | None:
    if label in seen:
        return None
    seen.add(label)
    return label


def _dates(axes: Axes, windows: list[dict[str, Any]]) -> None:
    step = max(1, len(windows) // 10)
    shown = windows[::step]
    axes.set_xticks([w["number"] for w in shown], [w["until"][:10] for w in shown], fontsize=8)
    axes.set_xlabel("window, by the day of its end")
