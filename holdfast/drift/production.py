"""Production data as rows: the home's prediction log, a file or a folder of files, with the labels that came late."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast import tables
from holdfast.drift import log, windows
from holdfast.errors import BadInput
from holdfast.versioning import canonical

if TYPE_CHECKING:
    from holdfast.drift.settings import Columns
    from holdfast.home import Home
    from holdfast.spec import Pipeline

Row = dict[str, Any]


def read(pipeline: Pipeline, home: Home, data: Path | None = None) -> list[Row]:
    """Return the rows of `data`, else of `monitor.source`, else of the prediction log, each id once.

    Every row has `id`, `text` and `label` (None where unknown). A folder's tables are read in the order of their names;
    a file that lies there twice is counted once. Raises `BadInput` for what is missing or cannot be read.
    """
    name, source = pipeline.registered_name, pipeline.monitor.source
    place = data or (Path(source) if source else None)
    if place is None:
        return log.read(home, name)
    found: dict[str, Row] = {}
    for file in _files(place):
        for row in _rows(file, pipeline.learn.text, pipeline.learn.label, pipeline.monitor.columns):
            found.setdefault(row["id"], row)
    return log.with_labels(found.values(), log.late_labels(home, name))


def _files(place: Path) -> Iterator[Path]:
    if not place.is_dir():
        yield place
        return
    for file in sorted(place.iterdir()):
        if file.suffix.lower() in tables.SUFFIXES and not file.name.startswith("."):
            yield file


def _rows(file: Path, text: str, label: str, columns: Columns) -> list[Row]:
    rows = windows.identified(
        [log.gathered(row, number, file) for number, row in enumerate(tables.read(file), 1)], columns, file
    )
    texts = tables.texts(rows, text, file)
    found = []
    for number, (row, words) in enumerate(zip(rows, texts, strict=True), 1):
        if not words.strip():
            raise BadInput("the text is empty", file=file, row=number, key=text)
        value = row.get(label)
        known = None if value is None or value == "" else canonical.label_text(value, number, label, file)
        others = {key: tables.plain(item) for key, item in row.items() if key not in (text, label)}
        found.append({**others, "id": row["id"], "text": words, "label": known})
    return found
