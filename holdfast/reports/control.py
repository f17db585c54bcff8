"""What the controller saw while the model was tuned and after it, what it chose and why, and what that cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.control import trajectory
from holdfast.records import Tuned
from holdfast.reports import words
from holdfast.reports.document import Block, Picture, Section, Table, Text

if TYPE_CHECKING:
    from holdfast.home import Home

_COLUMNS = ("candidate", "target on valid", "gain", "worst drop", "allowed", "verdict")
_CAPTION = "The target's gain against what was kept: candidates in the green band keep the contract"


def sections(tuned: Tuned, home: Home) -> list[Section]:
    """Return the section on the controller, where there was a contract for it to keep."""
    if tuned.trajectory is None:
        return []
    found = trajectory.read(tuned.trajectory, home)
    blocks: list[Block] = [Text(f"{found['said'][0].upper()}{found['said'][1:]}.")]
    if found["candidates"]:
        blocks.append(Text(_looked_at(found)))
        lines = [_row(candidate) for candidate in found["candidates"]]
        moods = [_mood(candidate) for candidate in found["candidates"]]
        blocks.append(Table(_COLUMNS, lines, moods))
        blocks.append(Picture(_CAPTION, (home.store.open(tuned.trajectory) / trajectory.PICTURE).read_bytes()))
    return [Section("The controller: what was kept while tuning", blocks)]


def _looked_at(found: dict[str, Any]) -> str:
    rows = ", ".join(f"{some} of {every} of {name}" for name, (some, every) in found["attempts"][0]["rows"].items())
    work, seconds = found["spent"]["work"], found["spent"]["seconds"]
    return (
        f"Rows of valid looked at: {rows}. The start model itself is no candidate. The looks cost "
        f"{words.percent(work['share'])} of the tuning's work, {words.seconds(seconds['controller'])} beside "
        f"{words.seconds(seconds['tuning'])}."
    )


def _row(candidate: dict[str, Any]) -> tuple[str, ...]:
    target, worst = candidate["target"], max(candidate["remembered"], key=lambda task: task["drop"] / task["margin"])
    return (
        candidate["name"],
        words.percent(target["after"]),
        words.points(target["gain"]),
        f"{worst['name']} {words.points(-worst['drop'])}",
        words.points(-worst["margin"] / 2),
        "chosen" if candidate["chosen"] else "keeps every contract" if candidate["kept"] else "breaks a contract",
    )


def _mood(candidate: dict[str, Any]) -> Any:
    if candidate["kept"]:
        return "good" if candidate["chosen"] else "neutral"
    return "bad"
