"""What the controller leaves to read: every candidate that it looked at, the chosen one and why, and what it spent.

`trajectory.json` holds

    start, allowed   the start model's accuracy on `valid` by task, and the most drop allowed (half its margin)
    attempts         per tuning: updates, anchors, rows looked at by task, work and seconds of tuning and controller
    candidates       in the order in which they were looked at: name, place, look, work, seconds, chosen
    chosen, why      the chosen candidate's name and the reason, None where there was no look
    spent            work and seconds of tuning and controller together, and the controller's share of the tuning's
    said             all of it in a line

and `trajectory.png` shows it: see `holdfast.control.picture`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from holdfast.control import picture, search

if TYPE_CHECKING:
    from holdfast.control.search import Seen
    from holdfast.control.watcher import Watcher
    from holdfast.forgetting.watch import Look
    from holdfast.home import Home
    from holdfast.records import Artifact

FILE, PICTURE = "trajectory.json", "trajectory.png"


def put(watchers: Sequence[Watcher], chosen: Seen | None, home: Home) -> Artifact:
    """Put `trajectory.json` and, where anything was seen, `trajectory.png` into the store."""
    found = document(watchers, chosen)
    with home.store.scratch() as scratch:
        folder = scratch / "trajectory"
        folder.mkdir()
        text = json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        (folder / FILE).write_text(text + "\n", encoding="utf-8", newline="\n")
        if chosen is not None:
            picture.draw(found, folder / PICTURE)
        return home.store.put(folder, "trajectory")


def read(artifact: Artifact, home: Home) -> dict[str, Any]:
    """Return what `trajectory.json` holds; raises `Corrupt` where its bytes are not those of the digest."""
    found: dict[str, Any] = json.loads((home.store.open(artifact) / FILE).read_text(encoding="utf-8"))
    return found


def document(watchers: Sequence[Watcher], chosen: Seen | None) -> dict[str, Any]:
    """Return everything about the attempts as JSON-able values."""
    attempts = [_attempt(watcher) for watcher in watchers]
    candidates = [_candidate(watcher, seen, seen is chosen) for watcher in watchers for seen in watcher.seen]
    spent = _spent(attempts)
    why = _why(chosen, len(candidates)) if chosen else None
    return {
        "start": _by_task(chosen.look, "before") if chosen else {},
        "allowed": {task.name: task.margin / 2 for task in chosen.look.remembered if task.margin} if chosen else {},
        "attempts": attempts,
        "candidates": candidates,
        "chosen": chosen.candidate.name if chosen else None,
        "why": why,
        "spent": spent,
        "said": _said(chosen, why, attempts, spent),
    }


def _attempt(watcher: Watcher) -> dict[str, Any]:
    seconds = watcher.journal.seconds
    return {
        "attempt": watcher.attempt,
        "updates": watcher.updates,
        "updates_planned": len(watcher.plan.work),
        "anchors": watcher.anchors,
        "rows": watcher.rows,
        "looks_planned_after": list(watcher.plan.steps),
        "work": {"tuning": sum(watcher.plan.work[: watcher.updates]), "controller": watcher.spent},
        "seconds": {kind: round(seconds.get(kind, 0.0), 3) for kind in ("tuning", "controller")},
    }


def _candidate(watcher: Watcher, seen: Seen, chosen: bool) -> dict[str, Any]:
    return {
        "name": seen.candidate.name,
        **seen.candidate.document(),
        **seen.look.document(),
        "work": watcher.plan.look,
        "seconds": watcher.journal.entries[seen.candidate.name]["seconds"],
        "chosen": chosen,
    }


def _spent(attempts: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for unit in ("work", "seconds"):
        tuning, control = (sum(a[unit][kind] for a in attempts) for kind in ("tuning", "controller"))
        found[unit] = {"tuning": round(tuning, 3), "controller": round(control, 3)}
        found[unit]["share"] = round(control / tuning, 4) if tuning else 0.0
    return found


def _by_task(look: Look, what: str) -> dict[str, float]:
    return {task.name: getattr(task, what) for task in (look.target, *look.remembered)}


def _why(chosen: Seen, candidates: int) -> str:
    look = chosen.look
    drops = ", ".join(f"{t.name} {-100 * t.drop:+.1f} (allowed {-50 * (t.margin or 0):.1f})" for t in look.remembered)
    changes = f"target {100 * look.gain:+.1f} points on valid, {drops}"
    if search.qualifies(chosen):
        best = f"the largest gain of {candidates} candidates that keeps" if candidates > 1 else "the end, which keeps"
        return f"{best} every contract: {changes}"
    if look.kept:
        return f"none of {candidates} candidates keeps every contract with a gain: {changes}"
    return f"none of {candidates} candidates keeps every contract, and this one breaks it least: {changes}"


def _said(chosen: Seen | None, why: str | None, attempts: list[dict[str, Any]], spent: dict[str, Any]) -> str:
    if chosen is None:
        return "nothing was looked at: the budget does not pay for three looks"
    one = chosen.candidate
    updates = attempts[one.attempt - 1]["updates"]
    name = one.name.replace(f"update {one.step}", f"update {one.step} of {updates}")
    share = 100 * spent["seconds"]["share"]
    return f"{name}: {why}; {share:.0f}% of the tuning's time"
