"""What a backtest comes to: a document of plain values, its table and its sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from holdfast.backtest.steps import Step

COLUMNS = (
    "policy", "mean accuracy", "against never [95%]", "recovered", "retrains", "promoted", "rolled back",
    "earlier data, lost", "at worst", "CPU seconds",
)  # fmt: skip


def document(
    about: Mapping[str, Any], steps: Mapping[str, Sequence[Step]], earlier: Mapping[str, float], first: float
) -> dict[str, Any]:
    """Return the document: what is true of all (`about`), then every policy with its windows.

    `steps` by policy, each with the same windows; `earlier` is the accuracy on the data that the first champion was
    judged on, by adapter, and `first` that of the first champion. `difference` is a policy's accuracy over the windows
    against `never`'s, paired, with Student's t interval over windows; `recovered` the share of `always`'s difference.
    """
    policies = [_policy(name, own, steps, earlier, first) for name, own in steps.items()]
    return {**about, "earlier_accuracy": round(first, 4), "policies": policies}


def _policy(
    name: str, own: Sequence[Step], steps: Mapping[str, Sequence[Step]], earlier: Mapping[str, float], first: float
) -> dict[str, Any]:
    scores = [earlier[step.champion_digest] for step in own]
    retrained = [step for step in own if step.retrained]
    return {
        "policy": name,
        "mean_accuracy": round(sum(step.right for step in own) / sum(step.rows for step in own), 4),
        "difference": _difference(own, steps["never"]) if "never" in steps and name != "never" else None,
        "recovered": recovered(*(_accuracy(steps, one) for one in ("never", "always", name))),
        "retrains": len(retrained),
        "promoted": sum(step.retrained == "promoted" for step in own),
        "rolled_back": sum(step.rolled_back is not None for step in own),
        "alarms": sum(bool(step.drifted) for step in own),
        "forgotten": round(first - scores[-1], 4),
        "forgotten_at_worst": round(first - min(scores), 4),
        "seconds": round(sum(step.seconds for step in own), 1),
        "windows": [{**step.model_dump(mode="json"), "accuracy": round(step.accuracy, 4)} for step in own],
    }


def _accuracy(steps: Mapping[str, Sequence[Step]], name: str) -> float | None:
    own = steps.get(name)
    return sum(step.right for step in own) / sum(step.rows for step in own) if own else None


def recovered(never: float | None, always: float | None, own: float | None) -> float | None:
    """Return the share of what retraining in every window gains over never that a policy gains; None without a gain."""
    if never is None or always is None or own is None or always <= never:
        return None
    return round((own - never) / (always - never), 3)


def _difference(own: Sequence[Step], other: Sequence[Step]) -> dict[str, Any]:
    gaps = [a.accuracy - b.accuracy for a, b in zip(own, other, strict=True)]
    return {"mean": round(float(np.mean(gaps)), 4), "interval": interval(gaps)}


def interval(values: Sequence[float], confidence: float = 0.95) -> list[float] | None:
    """Return Student's t interval of the mean of `values`, None for fewer than two."""
    from scipy.stats import t

    n = len(values)
    if n < 2:
        return None
    reach = float(t.ppf((1 + confidence) / 2, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    middle = float(np.mean(values))
    return [round(middle - reach, 4), round(middle + reach, 4)]


def rows(document: Mapping[str, Any]) -> list[list[str]]:
    """Return the table's lines, in the order of `COLUMNS`."""
    return [
        [
            one["policy"], f"{one['mean_accuracy']:.4f}", _gap(one["difference"]), _share(one["recovered"]),
            str(one["retrains"]), str(one["promoted"]), str(one["rolled_back"]), f"{100 * one['forgotten']:.1f}",
            f"{100 * one['forgotten_at_worst']:.1f}", f"{one['seconds']:.0f}",
        ]
        for one in document["policies"]
    ]  # fmt: skip


def _gap(difference: Mapping[str, Any] | None) -> str:
    if difference is None:
        return "-"
    low, high = (100 * end for end in difference["interval"])
    return f"{100 * difference['mean']:+.1f} [{low:+.1f}, {high:+.1f}]"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f}%"


def markdown(document: Mapping[str, Any]) -> str:
    """Return the table as Markdown; gains and losses are in points of accuracy."""
    lines = [list(COLUMNS), ["---"] * len(COLUMNS), *rows(document)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
