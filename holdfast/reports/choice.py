"""How `parameters: auto` chose: the candidates with their trials, and the picture."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from holdfast.records import Selected
from holdfast.reports import words
from holdfast.reports.document import Block, Picture, Section, Table, Text

if TYPE_CHECKING:
    from holdfast.home import Home

_EVIDENCE, _PICTURE = "auto.json", "auto.png"
_COLUMNS = (
    "rank", "candidate", "what moves", "share", "score", "updates", "target on valid", "log-loss", "worst drop",
    "verdict",
)  # fmt: skip
_MOODS = {"chosen": "good", "diverged": "bad", "tried: broke a contract": "bad"}
_SAID = (
    "Score: importance for the task over the geometric mean of general importance and share of the weights (1: moving "
    "everything). Target, log-loss and the worst drop of a remembered task are those of a candidate's latest trial, on "
    "valid; a short trial forgets less than the whole tuning."
)


def sections(selected: Selected | None, home: Home) -> list[Section]:
    """Return the section on the choice where there was one, from the selection's artifact."""
    folder = home.store.open(selected.artifact) if selected else None
    if folder is None or not (folder / _EVIDENCE).is_file():
        return []
    found = json.loads((folder / _EVIDENCE).read_text(encoding="utf-8"))
    rows = [_row(row) for row in found["candidates"]]
    moods = [_MOODS.get(row["verdict"], "neutral") for row in found["candidates"]]
    full, spent = found["work"]["full"], found["work"]["spent"]
    work = f"The trials saw {spent['tokens']:,} training tokens, {words.percent(spent['share'])} of the tuning's"
    blocks: list[Block] = [
        Text(f"{found['why'][0].upper()}{found['why'][1:]}. {work} {full['tokens']:,} ({full['updates']} updates)."),
        Table(_COLUMNS, rows, moods),
        Text(_SAID),
        Picture("Candidates: score, trials, and what they lost", (folder / _PICTURE).read_bytes()),
    ]
    return [Section("How it was chosen", blocks)]


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(row["rank"]),
        row["family"],
        ", ".join(row["parts"]),
        words.percent(row["share"]),
        f"{row['importance']['score']:.2f}",
        ", then ".join(str(one["updates"]) for one in row["trials"]) or "-",
        *_seen(row["trials"][-1]["look"] if row["trials"] else None),
        row["verdict"],
    )


def _seen(look: dict[str, Any] | None) -> tuple[str, str, str]:
    if look is None:
        return "-", "-", "-"
    target, drops = look["target"], [task["drop"] for task in look["remembered"]]
    accuracy = f"{words.percent(target['before'])} to {words.percent(target['after'])}"
    return accuracy, f"{target['loss_before']:.2f} to {target['loss']:.2f}", words.points(max(drops)) if drops else "-"
