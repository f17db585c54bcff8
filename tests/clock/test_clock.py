"""The clock: the machine's time, or one that stands still, also for what other threads and the ledger write."""

import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from holdfast import clock
from holdfast import home as homes
from holdfast.registry import ledger

THEN = datetime(2012, 11, 5, 12, 30, tzinfo=UTC)


def test_it_is_the_machines_time_unless_one_stands() -> None:
    before = datetime.now(UTC)
    assert before <= clock.now() <= datetime.now(UTC)
    with clock.at(None):
        assert clock.now() >= before
    with clock.at(THEN):
        assert (clock.now(), clock.text()) == (THEN, "2012-11-05T12:30:00.000+00:00")
        with clock.at(THEN + timedelta(days=1)):
            assert clock.now() == THEN + timedelta(days=1)
        assert clock.now() == THEN
    assert clock.now() >= before


def test_it_stands_in_other_threads_and_ends_with_an_error() -> None:
    seen = []
    with pytest.raises(RuntimeError), clock.at(THEN):
        thread = threading.Thread(target=lambda: seen.append(clock.now()))
        thread.start()
        thread.join()
        raise RuntimeError
    assert seen == [THEN] and clock.now() > THEN


def test_times_are_told_in_utc() -> None:
    with clock.at(THEN.astimezone(timezone(timedelta(hours=7)))):
        assert clock.text("seconds") == "2012-11-05T12:30:00+00:00"


def test_the_ledger_writes_the_time_that_stands(tmp_path: Path) -> None:
    book = ledger.at(homes.make(tmp_path / "home"))
    with clock.at(THEN):
        assert book.promote("toy", "1", "a" * 64, 0, why="test", who="test").at == clock.text()
    assert book.champion("toy").at.startswith("2012-11-05T12:30")
