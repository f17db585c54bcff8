"""A comparison as a table, for a terminal or in Markdown."""

from __future__ import annotations

from collections import Counter
from typing import Any

from holdfast.comparison.units import NATS

_NONE = "-"


def columns(document: dict[str, Any]) -> list[str]:
    """Return the names of the columns."""
    shown = [
        "arm",
        "rate",
        "target after",
        "gain",
        *([f"against {document['reference']}"] if _against(document) else []),
    ]
    for task in _tasks(document):
        shown += [f"{task['name']} lost", "kept"]
    return [*shown, "moved", "seconds"]


def rows(document: dict[str, Any]) -> list[list[str]]:
    """Return a row of cells per arm, in points; `*`: no arm loses less and gains as much."""
    shown = labels(document)
    return [_row(arm, shown[arm["name"]], document) for arm in document["arms"]]


def labels(document: dict[str, Any]) -> dict[str, str]:
    """Return the name that each arm is shown by: without its settings, where no other arm differs in those alone."""
    names = [arm["name"] for arm in document["arms"]]
    methods = Counter(name.partition(":")[0] for name in names)
    return {name: method if methods[method := name.partition(":")[0]] == 1 else name for name in names}


def markdown(document: dict[str, Any]) -> str:
    """Return the table in Markdown with the sentences that it needs."""
    head = columns(document)
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows(document)]
    return "\n".join([*lines, "", *sentences(document)]) + "\n"


def sentences(document: dict[str, Any]) -> list[str]:
    """Return what a reader of the table must know."""
    percent, seeds = 100 * document["confidence"], ", ".join(map(str, document["seeds"]))
    updates = " or ".join(map(str, document["updates"]))
    said = [
        f"{(document['metric'] or 'score').capitalize()} on test in points, with {percent:g}% intervals over seeds and "
        f"items; seeds {seeds}; {updates} updates each. `*`: on the frontier. Rates are times the file's, chosen on "
        "valid at the first seed; in brackets where that is the end of the grid, and a better one may lie outside. "
        "Seconds are those of tuning."
    ]
    shown = labels(document)
    settings: dict[str, list[str]] = {}
    for name, label in shown.items():
        if label != name:
            settings.setdefault(name.partition(":")[2], []).append(f"`{label}`")
    said += [f"{', '.join(names)} with `{own}`." for own, names in settings.items()]
    nats = [task["name"] for task in _tasks(document) if task["metric"] == NATS]
    said += [f"Of {', '.join(nats)} a point is a hundredth of a nat per token."] if nats else []
    diverged = {arm["name"]: arm["diverged"] for arm in document["arms"] if arm["diverged"]}
    said += [f"`{shown[name]}` diverged at seed {', '.join(map(str, where))}." for name, where in diverged.items()]
    return said + [f"{note[:1].upper()}{note[1:]}." for note in document["notes"]]


def _row(arm: dict[str, Any], label: str, document: dict[str, Any]) -> list[str]:
    name = label + (" *" if arm.get("frontier") else "")
    target = arm["target"]
    if target is None:
        return [name, _rate(arm), "failed", *[_NONE] * (len(columns(document)) - 3)]
    cells = [name, _rate(arm), f"{100 * target['after']:.1f}", _points(target["gain"])]
    if _against(document):
        cells.append(_points(target["against"]) if target["against"] else _NONE)
    for task in arm["remembered"]:
        cells += [_points(task["drop"]), f"{task['kept'][0]}/{task['kept'][1]}" if task["kept"] else _NONE]
    return [*cells, f"{100 * arm['share']:.3g}%", f"{arm['seconds']:.0f}" if arm["runs"] else _NONE]


def _rate(arm: dict[str, Any]) -> str:
    if arm.get("factor") is None:
        return _NONE
    said = f"{arm['factor']:g}x"
    return f"({said})" if arm["edge"] else said


def _points(interval: dict[str, float]) -> str:
    mean, low, high = (100 * interval[name] for name in ("mean", "low", "high"))
    if low == high == 0:
        return "0"
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


def _against(document: dict[str, Any]) -> bool:
    return any(arm["target"] and arm["target"]["against"] for arm in document["arms"])


def _tasks(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the remembered tasks, as the first arm that has been judged shows them."""
    return next((arm["remembered"] for arm in document["arms"] if arm["remembered"]), [])
