"""Numbers and verdicts in words, the same in the terminal, the report and the Markdown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from holdfast.records import RememberedScore, Result, Shadow, TargetScore

Mood = Literal["good", "bad", "neutral"]
COLUMNS = ("task", "before", "after", "change", "bound", "margin", "flips", "items", "verdict")
LEGEND = (
    "Accuracy, or the task's own metric; changes in points, paired on the same test items. Bound: the 95% interval of "
    "the target's change; for a remembered task the worst change plausible at its confidence, kept if above the "
    "margin. Flips: items won / lost."
)


@dataclass(frozen=True)
class Line:
    """One task's row of the table under `COLUMNS`, and whether it is good news."""

    cells: tuple[str, ...]
    mood: Mood


def percent(share: float) -> str:
    """Return a share as a percentage with one decimal."""
    return f"{100 * share:.1f}%"


def score(value: float) -> str:
    """Return a score as a percentage; a log-likelihood, which is negative, in nats."""
    return percent(value) if value >= 0 else f"{value:.3f}"


def points(difference: float) -> str:
    """Return a difference of shares in percentage points, signed."""
    return f"{100 * difference + 0.0:+.1f}"


def nats(difference: float) -> str:
    """Return a difference of log-likelihoods, signed."""
    return f"{difference + 0.0:+.3f} nats"


def seconds(value: float) -> str:
    """Return a duration, with a decimal where it is short."""
    return f"{value:.1f} s" if value < 100 else f"{value:.0f} s"


def table(target: TargetScore, remembered: tuple[RememberedScore, ...]) -> list[Line]:
    """Return the lines of the table of tasks: the target first, then every remembered task."""
    return [_target(target), *(_remembered(task) for task in remembered)]


def _target(target: TargetScore) -> Line:
    low, high = (points(end) for end in target.interval)
    verdict = "learned" if target.lower > 0 else "got worse" if target.interval[1] < 0 else "no gain shown"
    cells = (*_scores("target", target, target.gain), f"{low}..{high}", "", *_counts(target), verdict)
    return Line(cells, "good" if target.lower > 0 else "bad")


def _remembered(task: RememberedScore) -> Line:
    change = points if task.before >= 0 else nats
    bound = f"worst {change(-task.bound)}"
    verdict = "kept" if task.kept else "NOT KEPT"
    cells = (*_scores(task.name, task, -task.drop), bound, change(-task.margin), *_counts(task), verdict)
    return Line(cells, "good" if task.kept else "bad")


def _scores(name: str, of: TargetScore | RememberedScore, change: float) -> tuple[str, str, str, str]:
    said = points(change) if of.before >= 0 else nats(change)
    return name, score(of.before), score(of.after), said


def _counts(score: TargetScore | RememberedScore) -> tuple[str, str]:
    return f"{score.positive_flips}/{score.negative_flips}", str(score.n)


def address(uri: str) -> str:
    """Return an address without the user and password that it may hold."""
    return re.sub(r"(?<=://)[^/@]*@", "", uri)


def verdict(result: Result) -> str:
    """Return the verdict with its reason."""
    return f"{result.verdict.upper()}: {result.reason}"


def moved(result: Result) -> str:
    """Return what the selection moved."""
    chosen = result.selection
    weights = "weights" if result.lineage.method.get("task") == "generation" else "encoder weights"
    return (
        f"{chosen['moved']:,} of {chosen['total']:,} {weights} ({percent(chosen['share'])})"
        + (f", and {chosen['head']:,} of the head" if chosen["head"] else "")
        + f": {', '.join(chosen['names'])}"
    )


def own_words(log: dict[str, Any]) -> str:
    """Return whose words were learned, and how likely they and the gold answers were to the start model."""
    shares = ", ".join(f"{name} {percent(share)}" for name, share in log["shares"].items() if share)
    return (
        f"{log['arm']}: {shares}; negative log-likelihood per token under the start model {log['targets']['nll']:.3f} "
        f"(gold {log['gold']['nll']:.3f})"
    )


def stages(result: Result) -> str:
    """Return the seconds of every stage, those that were reused marked, and their sum."""
    each = [f"{s.name} {seconds(s.seconds)}{' (reused)' if s.cached else ''}" for s in result.stages]
    return f"{', '.join(each)}; together {seconds(sum(s.seconds for s in result.stages))}"


def shadow(seen: Shadow) -> str:
    """Return how a challenger did beside the champion on the newest labelled window."""
    if seen.window is None:
        return f"no window has enough labelled rows to compare it with the champion (version {seen.champion}) on"
    return (
        f"on {seen.n} rows of the newest labelled window {percent(seen.before)} by the champion (version "
        f"{seen.champion}), {percent(seen.after)} by this one; at {100 * seen.confidence:g}% confidence no worse than "
        f"{points(-seen.bound)} points, {'enough' if seen.holds else 'NOT ENOUGH'} for the margin of "
        f"{points(-seen.margin)}"
    )
