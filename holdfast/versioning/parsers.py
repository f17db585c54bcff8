"""Readers of the registered datasets' own formats: each gives rows with `text`, `label` and what else the source has.

A registry file names one of these by `parser.kind`; the other keys there, and those of the single dataset, are passed
on. The files' digests were verified before, so what does not fit here is a mistake in the registry and raises
`ValueError` or `KeyError`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from holdfast import tables

Row = dict[str, Any]
_TWITTER_EPOCH = timedelta(milliseconds=1288834974657)


def parse(kind: str, paths: Sequence[Path], **options: Any) -> list[Row]:
    """Return the rows of `paths` (the data first, then what goes with it) as the parser `kind` reads them."""
    return PARSERS[kind](paths, **options)


def _csv(paths: Sequence[Path], rename: dict[str, str] | None = None) -> list[Row]:
    """Comma-separated with a header; `rename` gives columns the names used here."""
    new = rename or {}
    return [{new.get(name, name): value for name, value in row.items()} for row in tables.read(paths[0], Path("x.csv"))]


def _tsv(paths: Sequence[Path], columns: Sequence[str]) -> list[Row]:
    """Tab-separated without a header and without quoting."""
    return [dict(zip(columns, fields, strict=True)) for fields in _tabbed(paths[0])]


def _clinc(paths: Sequence[Path], part: str, domain: str | None = None) -> list[Row]:
    """Lists of [text, intent] under `part`; the second file gives each domain its intents."""
    data, domains = (json.loads(path.read_text(encoding="utf-8")) for path in paths)
    of_intent = {intent: name for name, intents in domains.items() for intent in intents} | {"oos": "oos"}
    rows = [
        {"id": str(number), "text": text, "label": intent, "domain": of_intent[intent]}
        for number, (text, intent) in enumerate(data[part], 1)
    ]
    return [row for row in rows if domain in (None, row["domain"])]


def _goemotions(paths: Sequence[Path], labels: str) -> list[Row]:
    """Text, comma-joined label numbers and comment id; `labels: single` keeps rows with one label, `first` all rows."""
    names = paths[1].read_text(encoding="utf-8").split()
    rows = []
    for text, numbers, comment in _tabbed(paths[0]):
        emotions = [names[int(number)] for number in numbers.split(",")]
        if labels == "first" or len(emotions) == 1:
            rows.append({"id": comment, "text": text, "label": emotions[0], "emotions": ",".join(emotions)})
    return rows


def _tweets(paths: Sequence[Path]) -> list[Row]:
    """Tweet id, label and text; the time comes from the id."""
    return [
        {"id": tweet, "text": tweet_text(text), "label": label, "time": tweet_time(int(tweet))}
        for tweet, label, text, *_ in _tabbed(paths[0])
    ]


def _pairs(paths: Sequence[Path], language: str, separator: str) -> list[Row]:
    """Tab-separated with a header; the two sentences of `language` make one text."""
    header, *lines = _tabbed(paths[0])
    rows = []
    for fields in lines:
        pair = dict(zip(header, fields, strict=True))
        first, second = pair[f"sentence1_{language}"], pair[f"sentence2_{language}"]
        text = f"{first}{separator}{second}"
        rows.append(
            {"text": text, "label": pair["label"], "genre": pair["genre"], "premise": first, "hypothesis": second}
        )
    return rows


PARSERS: dict[str, Callable[..., list[Row]]] = {
    "csv": _csv,
    "tsv": _tsv,
    "clinc": _clinc,
    "goemotions": _goemotions,
    "tweets": _tweets,
    "pairs": _pairs,
}


def _tabbed(path: Path) -> list[list[str]]:
    """Return a UTF-8 file's lines, ended by line feeds alone, split at tabs."""
    return [line.split("\t") for line in path.read_bytes().decode().removesuffix("\n").split("\n")]


def tweet_text(raw: str) -> str:
    """Return a tweet as it was written: quoting of the file undone, then the escapes `\\uXXXX` and `\\"`.

    A field was quoted when it begins and ends with a quote and every run of quotes inside has even length; some were
    quoted twice, so each such run stands for one quote.
    """
    inner = raw[1:-1]
    quoted = len(raw) > 1 and raw[0] == raw[-1] == '"'
    if quoted and all(len(run) % 2 == 0 for run in re.findall(r'"+', inner)):
        raw = re.sub(r'\\?"+', '"', inner)
    decoded = re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), raw)
    return decoded.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def tweet_time(tweet: int) -> str:
    """Return when a tweet was posted, from its id, as ISO 8601 in UTC with milliseconds."""
    posted = datetime.fromtimestamp(0, UTC) + _TWITTER_EPOCH + timedelta(milliseconds=tweet >> 22)
    return posted.isoformat(timespec="milliseconds")
