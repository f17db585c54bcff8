"""Make the bundled data: `python data/make.py` writes the same bytes every time, with no network and no model.

Everything is synthetic. `data/made/LANGUAGE/{train,valid,test}.csv` (columns id, text, label) hold messages of the
customers of a shop that does not exist, with the sentiment that the writer meant: positive, neutral or negative. The
languages are English and Lirian, a made language (see `data/words.yaml`) half of whose opinion words are false friends:
spelled like an English word of the opposite sentiment. So what is learned from Lirian collides with what an English
model knows, which is the point: careless tuning forgets, and a test can see it. Real languages do this far less.

A message is a sentence frame whose slots (things, opinions, days, intensifiers) are filled at random, with an opening,
a closing, a slip of the keys or a change of case now and then. A third of the frames, and a quarter of the things,
occur in valid and test only. No text occurs twice, nor in two files, however it is cased and punctuated.

`data/made/stream.csv` (timestamp, language, source, text, label) is one feed of 60 days. Its first 30 days are steady,
English from e-mail, chat and the web form. From day 31 Lirian enters and grows to more than half by day 45, from a new
source, the app, and customers grow unhappier; then it stays so.
"""

from __future__ import annotations

import argparse
import csv
import io
import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

SEED = 20261120
SIZES = {"train": 600, "valid": 400, "test": 500}
LANGUAGES = ("english", "lirian")
LABELS = ("positive", "neutral", "negative")
DAYS, PER_DAY, SHIFT = 60, 20, (30, 45)
HERE = Path(__file__).resolve().parent

Row = dict[str, Any]


class Maker:
    """Makes messages in one language; `seen` holds the texts made so far, in all languages, as `normal` sees them."""

    def __init__(self, words: dict[str, Any], language: str, seen: set[str]) -> None:
        self.grammar = words[language]
        column = LANGUAGES.index(language)
        self.things = [pair[column] for pair in words["things"].items()]
        self.opinions = {label: [pair[column] for pair in pairs.items()] for label, pairs in words["opinions"].items()}
        self.seen = seen

    def message(self, label: str, held_out: bool, rng: random.Random) -> str:
        """Return a new message that means `label`; frames and things of valid and test only where `held_out`."""
        while True:
            text = _noisy(self._sentence(label, held_out, rng), self.grammar, rng)
            if normal(text) not in self.seen:
                self.seen.add(normal(text))
                return text

    def _sentence(self, label: str, held_out: bool, rng: random.Random) -> str:
        frames = self.grammar["frames"][label]
        frame = rng.choice(frames["unseen"] if held_out and rng.random() < 0.5 else frames["seen"])
        return str(frame.format(**self._fillings(held_out, rng)))

    def _fillings(self, held_out: bool, rng: random.Random) -> dict[str, Any]:
        things = self.things if held_out else self.things[: len(self.things) * 3 // 4]
        slots: dict[str, Any] = {slot: rng.choice(self.grammar[slot]) for slot in ("very", "hedge", "people")}
        slots["thing"], slots["thing2"] = rng.sample(things, 2)
        slots["pos"], slots["pos2"] = rng.sample(self.opinions["positive"], 2)
        slots["neg"], slots["neg2"] = rng.sample(self.opinions["negative"], 2)
        slots["day"], slots["day2"] = rng.sample(self.grammar["day"], 2)
        slots["number"] = rng.randrange(10000, 99999)
        return slots


def normal(text: str) -> str:
    """Return `text` without case, numbers and punctuation: two messages that agree in this count as the same."""
    return " ".join(re.findall(r"[^\W\d]+", text.casefold()))


def _noisy(sentence: str, grammar: dict[str, Any], rng: random.Random) -> str:
    """Return the sentence with an opening, a closing, two letters swapped, or all in small letters, now and then."""
    text = sentence[0].upper() + sentence[1:]
    if rng.random() < 0.12:
        text = _swapped(text, rng)
    number = rng.randrange(10000, 99999)
    if rng.random() < 0.3:
        text = rng.choice(grammar["open"]).format(number=number) + text
    if rng.random() < 0.3:
        text += rng.choice(grammar["close"]).format(number=number)
    return text.lower() if rng.random() < 0.2 else text


def _swapped(text: str, rng: random.Random) -> str:
    words = [match.span() for match in re.finditer(r"[a-z]{5,}", text)]
    if not words:
        return text
    first, last = rng.choice(words)
    i = rng.randrange(first + 1, last - 2)
    return text[:i] + text[i + 1] + text[i] + text[i + 2 :]


def split(maker: Maker, name: str, rng: random.Random) -> Iterator[Row]:
    """Yield the rows of one file, the labels as even as can be, in random order."""
    labels = [LABELS[i % len(LABELS)] for i in range(SIZES[name])]
    rng.shuffle(labels)
    for i, label in enumerate(labels):
        yield {"id": f"{name}-{i:03}", "text": maker.message(label, name != "train", rng), "label": label}


def stream(makers: dict[str, Maker], rng: random.Random) -> Iterator[Row]:
    """Yield the dated feed: how it shifts is said at the head of this file."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for day in range(DAYS):
        shifted = min(max((day - SHIFT[0]) / (SHIFT[1] - SHIFT[0]), 0.0), 1.0)
        seconds = sorted(rng.randrange(86400) for _ in range(PER_DAY))
        for second in seconds:
            language = "lirian" if rng.random() < 0.6 * shifted else "english"
            source = rng.choices(("app", "email", "chat", "form"), (1.5 * shifted, 1, 1, 1))[0]
            label = rng.choices(LABELS, (0.4 - 0.2 * shifted, 0.3, 0.3 + 0.2 * shifted))[0]
            yield {
                "timestamp": (start + timedelta(days=day, seconds=second)).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "language": language,
                "source": source,
                "text": makers[language].message(label, held_out=True, rng=rng),
                "label": label,
            }


def make(folder: Path) -> None:
    """Write every file under `folder`."""
    words = yaml.safe_load((HERE / "words.yaml").read_text(encoding="utf-8"))
    seen: set[str] = set()
    makers = {language: Maker(words, language, seen) for language in LANGUAGES}
    for language, maker in makers.items():
        for name in SIZES:
            rng = random.Random(f"{SEED}/{language}/{name}")
            _write(folder / language / f"{name}.csv", list(split(maker, name, rng)))
    _write(folder / "stream.csv", list(stream(makers, random.Random(f"{SEED}/stream"))))


def _write(path: Path, rows: list[Row]) -> None:
    """Write rows as CSV, UTF-8 with newlines as on every machine."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.getvalue(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the bundled data.")
    parser.add_argument("--out", type=Path, default=HERE / "made", help="folder to write (default: data/made)")
    make(parser.parse_args().out)
