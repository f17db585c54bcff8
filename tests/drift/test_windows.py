"""Rows are counted once: repeated rows and files, late rows; windows by number and by span."""

import pytest

from holdfast.drift import settings, windows
from holdfast.errors import BadInput

COLUMNS = settings.Columns()


def rows(*numbers, **more):
    return [{"id": str(i), "text": f"text {i}", **more} for i in numbers]


def at(*hours):
    return [{"id": f"h{h}", "text": "x", "time": f"2026-01-01T{h:02}:30:00Z"} for h in hours]


def ids(window):
    return [row["id"] for row in window.rows]


def test_a_row_that_comes_twice_is_kept_once_and_one_counted_earlier_not_at_all():
    found = windows.identified([*rows(1, 2), *rows(2, 3)], COLUMNS)
    assert [row["id"] for row in found] == ["1", "2", "3"]
    assert [row["id"] for row in windows.fresh(found, {"1", "3"})] == ["2"]


def test_rows_without_ids_are_named_by_content_and_place():
    file = [{"text": "ok"}, {"text": "ok"}, {"text": "no"}]
    once, again = windows.identified(file, COLUMNS), windows.identified(list(file), COLUMNS)
    assert len({row["id"] for row in once}) == 3  # two customers who write the same word are two rows
    assert [row["id"] for row in once] == [row["id"] for row in again]  # and the file that comes again has the same


def test_windows_by_number_leave_the_rest_waiting():
    found = windows.complete(rows(*range(70)), settings.Window(rows=30), COLUMNS)
    assert [ids(window)[0] for window in found] == ["0", "30"] and all(len(window.rows) == 30 for window in found)
    assert found[0].digest == windows.named(str(i) for i in reversed(range(30)))
    assert found[0].digest != found[1].digest


def test_windows_by_span_are_complete_when_a_later_row_or_the_time_has_come():
    span = settings.Window(span="6h")
    given = at(0, 3, 7, 8, 13)
    assert [ids(window) for window in windows.complete(given, span, COLUMNS)] == [["h0", "h3"], ["h7", "h8"]]
    much_later = 1767312000.0  # 2026-01-02
    assert len(windows.complete(given, span, COLUMNS, now=much_later)) == 3


def test_a_late_row_goes_to_the_oldest_open_span_and_is_counted_once():
    span = settings.Window(span="6h")
    first, _ = windows.complete(at(1, 7, 13), span, COLUMNS)
    judged = windows.until(first, span, COLUMNS)
    assert judged == 1767247200.0  # 2026-01-01T06:00
    late = at(7, 2, 13)  # the row of 02:30 arrives after 00:00-06:00 was judged
    (second,) = windows.complete(windows.fresh(late, set(ids(first))), span, COLUMNS, judged)
    assert sorted(ids(second)) == ["h2", "h7"] and second.late == 1
    assert windows.complete(at(2), span, COLUMNS, judged) == []


def test_a_time_that_is_none_is_named_with_its_row():
    with pytest.raises(BadInput) as caught:
        windows.identified([*at(1), {"text": "x", "time": "yesterday"}], COLUMNS, "log.csv")
    assert all(part in str(caught.value) for part in ("log.csv", "row 2", "`time`", "'yesterday'"))
