"""A dated stream: in the order of time, its part, its windows, and what is said of rows that cannot be replayed."""

from datetime import UTC, datetime

import pytest

from holdfast.backtest import stream
from holdfast.errors import BadInput


def rows(count: int, day: str = "2020-01-{:02}T10:00:00Z") -> list[dict[str, str]]:
    return [
        {"id": f"r{i}", "text": f"text {i}", "label": "good" if i % 2 else "bad", "time": day.format(i + 1)}
        for i in range(count)
    ]


def test_rows_come_in_the_order_of_their_times_each_once_and_only_from_the_part(dated, pipeline, home) -> None:
    given = rows(10)
    shuffled = [given[i] for i in (7, 2, 9, 0, 4, 4, 1, 8, 3, 6, 5)]
    found = stream.read(dated(shuffled), pipeline(), "2020-01-03", "2020-01-09T10:00:00Z", home)
    assert [row["id"] for row in found] == ["r2", "r3", "r4", "r5", "r6", "r7"]  # the ninth is at 10:00 and left out
    assert found[0] == {"id": "r2", "text": "text 2", "label": "bad", "time": "2020-01-03T10:00:00+00:00"}


def test_columns_are_those_of_the_pipeline_file_and_answers_of_others_are_dropped(dated, pipeline, home) -> None:
    given = [
        {"timestamp": row["time"], "said": row["text"], "mood": row["label"], "language": "en", "prediction": "bad"}
        for row in rows(3)
    ]
    own = pipeline(["learn.text=said", "learn.label=mood"], columns={"time": "timestamp"})
    found = stream.read(dated(given), own, None, None, home)
    assert found[1].keys() == {"id", "text", "label", "time", "language"}
    assert (found[1]["text"], found[1]["label"], found[1]["language"]) == ("text 1", "good", "en")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"time": ""}, "row 2, key `time`: the row has no time"),
        ({"time": "soon"}, "row 2, key `time`: 'soon' is no time"),
        ({"text": " "}, "row 2, key `text`: the text is empty"),
        ({"label": ""}, "row 2, key `label`: the label is missing"),
    ],
)
def test_a_row_that_cannot_be_replayed_is_named(dated, pipeline, home, change, said) -> None:
    given = rows(4)
    given[1] |= change
    with pytest.raises(BadInput) as refused:
        stream.read(dated(given), pipeline(), None, None, home)
    assert said in str(refused.value)


def test_an_empty_part_and_a_wrong_day_are_refused(dated, pipeline, home) -> None:
    place = dated(rows(4))
    with pytest.raises(BadInput, match="no row is from 2021-01-01 on"):
        stream.read(place, pipeline(), "2021-01-01", None, home)
    with pytest.raises(BadInput, match=r"--from.*is no time|is no time.*such as"):
        stream.read(place, pipeline(), "January", None, home)


def test_windows_by_number_leave_the_rest_and_end_with_their_last_row(dated, pipeline, home) -> None:
    own = pipeline(window={"rows": 20})
    given = stream.read(dated(rows(45, day="2020-01-01T00:00:{:02}Z")), own, None, None, home)
    stops = stream.cut(given, own)
    assert [(stop.number, len(stop.rows)) for stop in stops] == [(1, 20), (2, 20)]
    assert stops[0].now == datetime(2020, 1, 1, 0, 0, 20, tzinfo=UTC)


def test_windows_of_one_moment_are_a_second_apart(dated, pipeline, home) -> None:
    own = pipeline(window={"rows": 20})
    stops = stream.cut(stream.read(dated(rows(40, day="2020-01-01")), own, None, None, home), own)
    assert [stop.now.second for stop in stops] == [0, 1]


def test_windows_by_span_end_with_the_span_the_last_too(dated, pipeline, home) -> None:
    own = pipeline(window={"span": "2d"})
    stops = stream.cut(stream.read(dated(rows(5)), own, None, None, home), own)
    assert [len(stop.rows) for stop in stops] == [2, 2, 1]  # the grid is that of 1970
    assert [stop.now.day for stop in stops] == [3, 5, 7]


def test_one_window_is_no_stream(dated, pipeline, home) -> None:
    own = pipeline(window={"rows": 20})
    with pytest.raises(BadInput, match="30 rows make 1 windows"):
        stream.cut(stream.read(dated(rows(30, day="2020-01-01T00:00:{:02}Z")), own, None, None, home), own)
