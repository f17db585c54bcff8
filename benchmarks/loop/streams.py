"""The real streams, drawn by seed: what the first model learns, and what comes after, in the order of time.

Tweets (SemEval 2013 to 2016, each id once): the first model learns 1600 of 2011 to mid 2012 (1200 train, 200 valid, 200
test); the stream is 1000 of later 2012, 2000 of 2014 and 3000 of 2015, in the order in which they were posted.
NusaX: 1000 sentences, each in one language only. The first model learns 400 in English (250, 50, 100); the stream is
100 in English, 250 in Indonesian and 250 in Javanese, a sentence an hour, in an order drawn by seed.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from holdfast import tables
from holdfast.drift import times
from holdfast.home import Home
from holdfast.versioning import prepare

Row = dict[str, Any]
_TWEETS = (
    "2013/train", "2013/valid", "2013/test", "2014/test", "2014/sarcasm", "2015/train", "2015/test", "2016/train",
    "2016/valid", "2016/devtest", "2016/test",
)  # fmt: skip
_LEARNED = {"tweets": (1200, 200, 200), "nusax": (250, 50, 100)}
_AFTER = (("2012-07-01", "2013-01-01", 1000), ("2014-01-01", "2015-01-01", 2000), ("2015-01-01", "2016-01-01", 3000))
_LANGUAGES = (("english", 100), ("indonesian", 250), ("javanese", 250))


def write(part: str, seed: int, folder: Path, home: Home) -> None:
    """Write `train.csv`, `valid.csv`, `test.csv` and `stream.csv` into `folder`, unless they are there."""
    if (folder / "stream.csv").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    learned, after = (_tweets if part == "tweets" else _nusax)(random.Random(f"{part}/{seed}"), home)
    first = 0
    for role, size in zip(("train", "valid", "test"), _LEARNED[part], strict=True):
        tables.write(folder / f"{role}.csv", learned[first : first + size])
        first += size
    tables.write(folder / "stream.csv", after)


def _tweets(rng: random.Random, home: Home) -> tuple[list[Row], list[Row]]:
    found: dict[str, Row] = {}
    for name in _TWEETS:
        for row in prepare.plain_rows(f"semeval/{name}", home):
            found.setdefault(row["id"], {key: row[key] for key in ("id", "text", "label", "time")})
    texts: dict[str, Row] = {}
    for row in found.values():
        texts.setdefault(" ".join(row["text"].casefold().split()), row)
    rows = sorted(texts.values(), key=lambda row: (times.seconds(row["time"]), row["id"]))
    learned = rng.sample(_between(rows, "2011-01-01", "2012-07-01"), sum(_LEARNED["tweets"]))
    after = [row for since, until, size in _AFTER for row in _drawn(_between(rows, since, until), size, rng)]
    return learned, after


def _between(rows: list[Row], since: str, until: str) -> list[Row]:
    return [row for row in rows if times.seconds(since) <= times.seconds(row["time"]) < times.seconds(until)]


def _drawn(rows: list[Row], size: int, rng: random.Random) -> list[Row]:
    return [rows[i] for i in sorted(rng.sample(range(len(rows)), size))]


def _nusax(rng: random.Random, home: Home) -> tuple[list[Row], list[Row]]:
    by_language = {
        language: [
            {"id": f"{split}-{row['id']}", "text": row["text"], "label": row["label"], "language": language}
            for split in ("train", "valid", "test")
            for row in prepare.plain_rows(f"nusax/{language}/{split}", home)
        ]
        for language, _ in _LANGUAGES
    }
    order = rng.sample(range(1000), 1000)  # the same sentence has the same place in every language
    size = sum(_LEARNED["nusax"])
    learned = [by_language["english"][i] for i in order[:size]]
    after: list[Row] = []
    for language, count in _LANGUAGES:
        after += [by_language[language][i] for i in order[size + len(after) : size + len(after) + count]]
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return learned, [{**row, "time": (start + timedelta(hours=i)).isoformat()} for i, row in enumerate(after)]
