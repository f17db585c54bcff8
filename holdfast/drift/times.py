"""Times in production data: ISO 8601 text, dates, or seconds since 1970."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from typing import Any


def seconds(value: Any) -> float:
    """Return a time as seconds since 1970, NaN where there is none; text without a zone is taken for UTC.

    Raises `ValueError` for text that is no time.
    """
    if value is None or value == "":
        return math.nan
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def text(moment: float) -> str | None:
    """Return seconds since 1970 as ISO 8601 text in UTC, None for NaN."""
    return None if math.isnan(moment) else datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
