"""Windows of production data: every row counted once, however often it or its file arrives, and however late."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast import digests
from holdfast.drift import times
from holdfast.errors import BadInput

if TYPE_CHECKING:
    from holdfast.drift.settings import Columns
    from holdfast.drift.settings import Window as Settings

Row = dict[str, Any]
_HOUR = 3600.0


@dataclass(frozen=True)
class Window:
    """Rows that are judged together, in their order; `late` of them came after their own window was judged."""

    rows: tuple[Row, ...]
    late: int = 0

    @property
    def digest(self) -> str:
        """The window's name: SHA-256 of its rows' ids, whatever their order."""
        return named([row["id"] for row in self.rows])


def named(ids: Iterable[str]) -> str:
    """Return the SHA-256 that stands for a set of row ids."""
    return digests.of_json(sorted(ids))


def identified(rows: Sequence[Row], columns: Columns, file: object = None) -> list[Row]:
    """Return the rows with a text `id` each and without repeats: of rows with one id the first is kept.

    A row without an id is named by its content, and, among rows of the same content, by its place: a file that arrives
    again has the same names, and two customers who write the same word are two rows. Raises `BadInput` for a time that
    is none.
    """
    alike: Counter[str] = Counter()
    found: dict[str, Row] = {}
    for number, row in enumerate(rows, 1):
        _check_time(row, number, columns, file)
        given = row.get(columns.id)
        if given is None or given == "":
            content = digests.of_json({str(key): str(value) for key, value in row.items()})
            alike[content] += 1
            given = f"{content[:24]}-{alike[content]}"
        found.setdefault(str(given), {**row, "id": str(given)})
    return list(found.values())


def _check_time(row: Row, number: int, columns: Columns, file: object) -> None:
    try:
        times.seconds(row.get(columns.time))
    except ValueError as error:
        what = f"{row[columns.time]!r:.40} is no time"
        raise BadInput(
            what, file=file, row=number, key=columns.time, expected="such as 2026-01-31T12:00:00Z"
        ) from error


def fresh(rows: Iterable[Row], counted: set[str]) -> list[Row]:
    """Return the rows whose ids are not among those counted in earlier windows."""
    return [row for row in rows if row["id"] not in counted]


def complete(
    rows: Sequence[Row], settings: Settings, columns: Columns, judged_until: float | None = None, now: float = math.nan
) -> list[Window]:
    """Return the windows that are complete, oldest first; rows that are left wait for more.

    By number: every `rows` rows, in the order given. By `span`: the rows of a span of a grid that starts in 1970, once
    a later row has come or the span is over at `now` (seconds since 1970). A row of a span that was judged already (it
    ends by `judged_until`), or without a time, goes to the oldest span that is not.
    """
    if settings.span is None:
        size = settings.rows
        return [Window(tuple(rows[i : i + size])) for i in range(0, len(rows) - size + 1, size)]
    return _by_time(rows, settings.span * _HOUR, columns, judged_until, now)


def _by_time(
    rows: Sequence[Row], span: float, columns: Columns, judged_until: float | None, now: float
) -> list[Window]:
    moments = [times.seconds(row.get(columns.time)) for row in rows]
    known = [moment for moment in moments if not math.isnan(moment)]
    if not known:
        return []
    open_since = -math.inf if judged_until is None else judged_until
    own = [math.floor(moment / span) if moment >= open_since else None for moment in moments]
    first = min((number for number in own if number is not None), default=None)
    if first is None:
        return []
    grouped: dict[int, list[Row]] = {}
    late: Counter[int] = Counter()
    for row, number in zip(rows, own, strict=True):
        grouped.setdefault(first if number is None else number, []).append(row)
        late[first] += number is None
    newest = max([*known, now] if not math.isnan(now) else known)
    return [Window(tuple(grouped[n]), late[n]) for n in sorted(grouped) if (n + 1) * span <= newest]


def until(window: Window, settings: Settings, columns: Columns) -> float | None:
    """Return the end of the span that a window stands for, None for windows by number or without times."""
    moments = [times.seconds(row.get(columns.time)) for row in window.rows]
    known = [moment for moment in moments if not math.isnan(moment)]
    if settings.span is None or not known:
        return None
    span = settings.span * _HOUR
    return (math.floor(max(known) / span) + 1) * span
