"""What time it is: the machine's, or, inside a backtest, the time of the stream.

Whatever the loop writes down with a time asks here, so that the same code runs in virtual time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

_standing: list[datetime] = []


def now() -> datetime:
    """Return the time, with its zone, UTC: the one that stands (see `at`), else the machine's."""
    return _standing[-1] if _standing else datetime.now(UTC)


def text(timespec: str = "milliseconds") -> str:
    """Return the time as the loop writes times: ISO 8601, UTC."""
    return now().isoformat(timespec=timespec)


@contextmanager
def at(moment: datetime | None) -> Iterator[None]:
    """Let the time stand still at `moment` inside the block, in all threads of this process; None changes nothing."""
    if moment is None:
        yield
        return
    _standing.append(moment.astimezone(UTC))
    try:
        yield
    finally:
        _standing.pop()
