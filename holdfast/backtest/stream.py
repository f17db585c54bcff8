"""A dated stream: labelled rows in the order of their times, cut into the windows that the loop will be given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from holdfast import digests, tables
from holdfast.drift import times, windows
from holdfast.drift.settings import Columns
from holdfast.errors import BadInput
from holdfast.versioning import canonical, prepare

if TYPE_CHECKING:
    from holdfast.home import Home
    from holdfast.spec import Pipeline

Row = dict[str, Any]
FEWEST = 2  # windows


@dataclass(frozen=True)
class Stop:
    """One window of the stream, and the virtual time at which it is complete."""

    number: int
    rows: tuple[Row, ...]
    now: datetime


def read(ref: str, pipeline: Pipeline, since: str | None, until: str | None, home: Home) -> list[Row]:
    """Return the rows of a registered dataset or a file with `since` <= time < `until`, oldest first, each id once.

    They have `id`, `text`, `label`, `time` (ISO 8601, UTC) and whatever else they had. Raises `BadInput` for a row
    without a text, a label or a time, and where no row is left.
    """
    monitor = pipeline.monitor
    given = windows.identified(prepare.plain_rows(ref, home), monitor.columns, ref)
    texts = tables.texts(given, pipeline.learn.text, ref)
    tables.check_column(given, pipeline.learn.label, ref)
    first, last = _moment(since, "--from", -math.inf), _moment(until, "--to", math.inf)
    found = []
    for number, (row, text) in enumerate(zip(given, texts, strict=True), 1):
        moment = _time(row, number, monitor.columns, ref)
        if first <= moment < last:
            found.append((moment, _row(row, text, moment, number, pipeline, ref)))
    if not found:
        what = f"no row is from {since or 'its beginning'} on and before {until or 'its end'}"
        raise BadInput(what, file=ref, key="--from, --to")
    return [row for _, row in sorted(found, key=lambda pair: pair[0])]


def _moment(text: str | None, key: str, default: float) -> float:
    try:
        return default if text is None else times.seconds(text)
    except ValueError as error:
        raise BadInput(f"{text!r:.40} is no time", key=key, expected="such as 2026-01-31") from error


def _time(row: Row, number: int, columns: Columns, ref: str) -> float:
    moment = times.seconds(row.get(columns.time))
    if math.isnan(moment):
        remedy = "Name the column of times in the pipeline file: monitor.columns.time."
        raise BadInput("the row has no time", file=ref, row=number, key=columns.time, remedy=remedy)
    return moment


def _row(row: Row, text: str, moment: float, number: int, pipeline: Pipeline, ref: str) -> Row:
    learn = pipeline.learn
    label = canonical.label_text(row[learn.label], number, learn.label, ref)
    if not text.strip():
        raise BadInput("the text is empty", file=ref, row=number, key=learn.text)
    used = (learn.text, learn.label, pipeline.monitor.columns.time, "prediction", "probabilities", "version")
    others = {key: tables.plain(value) for key, value in row.items() if key not in used}
    return {**others, "id": row["id"], "text": text, "label": label, "time": times.text(moment)}


def cut(rows: Sequence[Row], pipeline: Pipeline) -> list[Stop]:
    """Return the stream's windows as `monitor.window` says; rows at the end that fill none are left out.

    A window is complete at the time of its last row, or at the end of its span, but always later than the one before.
    Raises `BadInput` where there are fewer than two windows.
    """
    settings, columns = pipeline.monitor.window, Columns()
    end = math.inf if settings.span is None else times.seconds(rows[-1]["time"]) + settings.span * 3600
    found: list[Stop] = []
    for number, window in enumerate(windows.complete(rows, settings, columns, now=end), 1):
        over = windows.until(window, settings, columns)
        moment = max(times.seconds(row["time"]) for row in window.rows) if over is None else over
        now = datetime.fromtimestamp(moment, UTC)
        if found:
            now = max(now, found[-1].now + timedelta(seconds=1))
        found.append(Stop(number, window.rows, now))
    if len(found) < FEWEST:
        what = f"{len(rows)} rows make {len(found)} windows"
        raise BadInput(what, key="monitor.window", expected=f"at least {FEWEST}")
    return found


def digest(rows: Sequence[Row]) -> str:
    """Return the SHA-256 that stands for a stream."""
    return digests.of_json(list(rows))
