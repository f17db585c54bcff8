"""The prediction log of a home: what a model answered, by day, and the labels that came later.

Below `production/NAME` in the home: `predictions/day=YYYY-MM-DD/*.parquet` with the columns id, text, prediction,
probabilities, version, time, label and whatever else the rows had, and `labels/*.parquet` with id and label, joined
when the log is read. Files are only ever added: what one process writes, no other can damage.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast import clock, digests, tables
from holdfast.drift import times, windows
from holdfast.drift.settings import Columns
from holdfast.errors import BadInput
from holdfast.records import Record
from holdfast.versioning import canonical

if TYPE_CHECKING:
    from holdfast.home import Home

Row = dict[str, Any]
_CHANCE = "probability_"
_FIRST = ("id", "text", "prediction", "probabilities", "version", "time", "label")


class Joined(Record):
    """What became of a file of labels: how many ids the log knows, how many it does not, and how many were corrected.

    `repeated` says that the very file was there already.
    """

    rows: int
    known: int
    unknown: int
    corrected: int
    repeated: bool
    first_unknown: str | None = None


def place(home: Home, name: str) -> Path:
    """Return the folder of everything that a registered name has in production."""
    return home.path / "production" / name


def append(
    home: Home, name: str, version: str, predicted: Sequence[Row], text: str = "text", now: str | None = None
) -> list[Path]:
    """Add predicted rows (`prediction`, `probability_LABEL`; see `predictions.predict`) to the log; return the files.

    A row keeps its own `id` and `time`, where it has them; else it is named by its content, so that the same file
    predicted twice is counted once, and has the time `now`. Raises `BadInput` for a time that is none.
    """
    columns = Columns()
    now = now or clock.text("seconds")
    rows = [gathered(row, number) for number, row in enumerate(predicted, 1)]
    by_day: dict[str, list[Row]] = defaultdict(list)
    for row in windows.identified(rows, columns):
        moment = times.text(times.seconds(row.get(columns.time))) or now
        entry = {
            "probabilities": None,
            **row,
            "text": row[text],
            "version": version,
            "time": moment,
            "label": row.get("label") or None,
        }
        others = {key: tables.plain(value) for key, value in entry.items() if key not in _FIRST}
        by_day[moment[:10]].append({key: entry[key] for key in _FIRST} | others)
    return [_write(place(home, name) / "predictions" / f"day={day}", own) for day, own in sorted(by_day.items())]


def gathered(row: Row, number: int, file: object = None) -> Row:
    """Return a row with its `probability_LABEL` columns, as `predict` writes them, as one mapping `probabilities`.

    Raises `BadInput` for a probability that is no number; `number` is the row's in `file`.
    """
    chances = {}
    for key in (key for key in row if key.startswith(_CHANCE)):
        try:
            chances[key.removeprefix(_CHANCE)] = float(row[key])
        except (TypeError, ValueError) as error:
            what = f"{row[key]!r:.40} is no probability"
            raise BadInput(what, file=file, row=number, key=key, expected="a number from 0 to 1") from error
    rest = {key: value for key, value in row.items() if not key.startswith(_CHANCE)}
    return {**rest, "probabilities": chances} if chances else rest


def _write(folder: Path, rows: Sequence[Row]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{digests.of_json(rows)[:24]}.parquet"
    tables.write(file, rows)
    return file


def label(home: Home, name: str, file: Path, id_: str = "id", label_: str = "label") -> Joined:
    """Join a file of labels to the log by id; the same id again corrects the label that it had.

    Raises `BadInput` for a missing column, an id or a label that is none, two labels for one id in the file, or where
    there is no log of that name.
    """
    known = {row["id"]: row["label"] for row in read(home, name)}
    if not known:
        remedy = f"Predict with `holdfast predict {name}@champion INPUT OUTPUT --log` first."
        raise BadInput(f"there is no prediction log of `{name}`", remedy=remedy)
    given = _labels(tables.read(file), file, id_, label_)
    repeated = not add_labels(home, name, given)
    unknown = [name for name in given if name not in known]
    corrected = [name for name, value in given.items() if known.get(name) not in (None, value)]
    return Joined(
        rows=len(given),
        known=len(given) - len(unknown),
        unknown=len(unknown),
        corrected=len(corrected),
        repeated=repeated,
        first_unknown=unknown[0] if unknown else None,
    )


def add_labels(home: Home, name: str, given: Mapping[str, str]) -> bool:
    """Add labels by id to those that came later, and say so; those that came just so before are not added again."""
    folder = place(home, name) / "labels"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"id": name, "label": value} for name, value in sorted(given.items())]
    mark = digests.of_json(rows)[:24]
    if any(path.stem.endswith(mark) for path in folder.glob("*.parquet")):
        return False
    tables.write(folder / f"{clock.now().strftime('%Y%m%dT%H%M%S%f')}-{mark}.parquet", rows)
    return True


def _labels(rows: Sequence[Row], file: Path, id_: str, label_: str) -> dict[str, str]:
    for column in (id_, label_):
        tables.check_column(rows, column, file)
    given: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        name, value = row[id_], canonical.label_text(row[label_], number, label_, file)
        if name is None or name == "":
            raise BadInput("the id is empty", file=file, row=number, key=id_)
        if given.setdefault(str(name), value) != value:
            raise BadInput(f"the id {name!r} has two labels, {given[str(name)]} and {value}", file=file, row=number)
    return given


def late_labels(home: Home, name: str) -> dict[str, str]:
    """Return the labels that came later, by id; of several for one id the last one."""
    files = sorted((place(home, name) / "labels").glob("*.parquet"))
    return {row["id"]: row["label"] for file in files for row in tables.read(file)}


def read(home: Home, name: str) -> list[Row]:
    """Return the log's rows with their labels, days and files in order; of rows with one id the first."""
    files = sorted((place(home, name) / "predictions").glob("day=*/*.parquet"))
    found: dict[str, Row] = {}
    for row in (row for file in files for row in tables.read(file)):
        found.setdefault(row["id"], row)
    return with_labels(found.values(), late_labels(home, name))


def with_labels(rows: Iterable[Row], labels: dict[str, str]) -> list[Row]:
    """Return rows with the labels that came for their ids; a row keeps the one it has where none came."""
    return [{**row, "label": labels.get(row["id"], row.get("label"))} for row in rows]
