"""An adaptation that drift asks for: its data and its pipeline file, made from the decision and nothing else.

The champion goes on from the labelled rows of the drifted windows. A share of the newest window is held out: it is the
test set, and what the new version and the champion are compared on. What the champion learned before is a remembered
task, `before`, with its own train, valid and test: the contract says that it is kept, and its train rows are replayed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from holdfast import digests, rows, tables
from holdfast.decisions import book
from holdfast.drift import champion as champions
from holdfast.drift import log, watch
from holdfast.errors import BadInput
from holdfast.forgetting import intervals
from holdfast.forgetting.evaluate import CONFIDENCE
from holdfast.registry import versions

if TYPE_CHECKING:
    from holdfast.decisions.records import Decision
    from holdfast.drift.champion import Champion
    from holdfast.home import Home
    from holdfast.records import Result
    from holdfast.spec import Pipeline

BEFORE = "before"
_WINDOW, _HELD_OUT, _FILE = "window.jsonl", "newest.jsonl", "pipeline.yaml"
_COLUMNS = {"text": "text", "label": "label"}


def plan(decision: Decision, pipeline: Pipeline, home: Home) -> Path:
    """Write the data and the pipeline file of a decided adaptation below the home; return the file.

    The same decision gives the same bytes, so an adaptation that was killed goes on where it was, also where it has
    made the champion already. Raises `BadInput` where the champion is not the one that the decision was about, or where
    the labelled rows are gone.
    """
    champion = champions.find(decision.name, home)
    folder = log.place(home, decision.name) / "retrains" / decision.key[:16]
    if _made_by(champion, folder, home):
        return folder / _FILE
    if champion.version != decision.version:
        what = f"the champion of `{decision.name}` is version {champion.version}, and the decision was about"
        raise BadInput(f"{what} {decision.version}")
    folder.mkdir(parents=True, exist_ok=True)
    new, held_out = folder / _WINDOW, folder / _HELD_OUT
    if not (new.exists() and held_out.exists()):
        learned, kept = _material(decision, pipeline, champion, home)
        tables.write(held_out, kept)
        tables.write(new, learned)
    before = {role: _before(champion, role, folder, home) for role in ("train", "valid", "test")}
    raw = _raw(pipeline, champion, (str(new), str(held_out)), {role: str(file) for role, file in before.items()})
    file = folder / _FILE
    file.write_text(yaml.safe_dump(raw, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return file


def known_to(decision: Decision, home: Home) -> list[Decision]:
    """Return the decisions up to this one and with it, in the order of the book.

    Times would not do: of two rounds at once the one that wrote first may have begun last.
    """
    known = book.at(home).past(decision.name).decisions
    place = next(i for i, d in enumerate(known) if d.key == decision.key)
    return list(known[: place + 1])


def told(result: Result) -> dict[str, Any]:
    """Return what the book keeps of an adaptation: the version, the verdict, and the datasets it used, by digest."""
    data = {key: {"ref": used["ref"], "digest": used["digest"]} for key, used in result.lineage.data.items()}
    shadow = result.shadow.model_dump(mode="json") if result.shadow else None
    said = {"version": result.version, "verdict": result.verdict, "reason": result.reason}
    return {**said, "shadow": shadow, "data": data}


def _made_by(champion: Champion, folder: Path, home: Home) -> bool:
    """Say whether the adaptation planned in `folder` made the champion: it was killed before it was written down."""
    if not (folder / _FILE).exists():
        return False
    data = versions.show(champion.name, champion.version, home)["lineage"]["data"]
    return bool(data["learn.train"]["ref"] == str(folder / _WINDOW))


def _material(
    decision: Decision, pipeline: Pipeline, champion: Champion, home: Home
) -> tuple[list[rows.Row], list[rows.Row]]:
    """Return the rows to learn and those to hold out."""
    past = known_to(decision, home)
    count = pipeline.monitor.retrain.windows + 1  # the newest of them is the decision's own
    found = watch.material(past, [], count, decision.name, home, champions.texts(champion, home))
    if not found:
        raise BadInput(f"no labelled rows are left to adapt `{decision.name}` with")
    kept = ("id", "text", "label", *pipeline.monitor.columns.segments)
    new = [{name: row[name] for name in kept if row.get(name) is not None} for row in found]
    windows = [{row["id"] for row in rows.stored(home, d.window_rows)} for d in reversed(past) if d.window_rows]
    enough = intervals.smallest_n(pipeline.gate.champion_margin, CONFIDENCE)
    chosen = held_out(new, windows[:count], pipeline.monitor.retrain.shadow, enough, pipeline.monitor.seed)
    return [row for row in new if row["id"] not in chosen], [row for row in new if row["id"] in chosen]


def held_out(
    found: Sequence[rows.Row], windows: Iterable[Container[str]], share: float, enough: int, seed: int
) -> set[str]:
    """Return the ids to hold out of labelled rows: of each label a `share` of the newest window, drawn by `seed`.

    `windows` are the ids of each window, the newest first; where one does not give `enough` rows, the next gives too.
    """
    chosen: set[str] = set()
    for ids in windows:
        of_label: dict[str, list[str]] = defaultdict(list)
        for row in found:
            if row["id"] in ids and row["id"] not in chosen:
                of_label[str(row["label"])].append(row["id"])
        for label, names in of_label.items():
            drawn = sorted(names, key=lambda name: digests.of_json([seed, label, name]))
            chosen.update(drawn[: round(share * len(drawn))])
        if len(chosen) >= enough:
            break
    return chosen


def _before(champion: Champion, role: str, folder: Path, home: Home) -> Path:
    """Write what the champion learned in a role, with what it remembered of earlier retrains; return the file."""
    keys = [key for key in (f"remember.{BEFORE}.{role}", f"learn.{role}") if key in champion.data]
    found = [row for key in keys for row in rows.stored(home, champion.data[key])]
    file = folder / f"{BEFORE}-{role}.jsonl"
    tables.write(file, [{"id": f"{i}", "text": row["text"], "label": row["label"]} for i, row in enumerate(found)])
    return file


def _raw(pipeline: Pipeline, champion: Champion, new: tuple[str, str], before: dict[str, str]) -> dict[str, Any]:
    """Return the pipeline file: the user's settings, the champion as start, the windows to learn, the past to keep."""
    raw, retrain = pipeline.resolved() | {"merge": None}, pipeline.monitor.retrain
    raw["start"] = {"model": champion.start.model}
    raw["learn"] |= {**_COLUMNS, "train": new[0], "valid": None, "test": new[1], "head": champion.head}
    task = {"name": BEFORE, **before, **_COLUMNS, "head": champion.head, "margin": retrain.margin}
    raw["remember"] = [other for other in raw["remember"] if other["name"] != BEFORE] + [task]
    examples = {name: options for name, options in raw["examples"].items() if name != "gold"}
    raw["examples"] = examples if "replay" in examples else {**examples, "replay": {"share": retrain.replay}}
    raw["register"] = {"name": champion.name}
    return raw
