"""Make the dated stream of `make demo-loop`: `python data/make_loop.py --out FILE` writes the same bytes every time.

Synthetic customer messages as in `data/make.py` (timestamp, language, source, text, label), 100 a week for 12 weeks,
none of which is in the bundled files. Three weeks are English, as what the first model learned. Then Lirian comes, up
to four messages in five, stays, goes for two weeks, and comes back: a change that returns.
"""

from __future__ import annotations

import argparse
import csv
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from make import HERE, LABELS, LANGUAGES, SEED, Maker, Row, normal

LIRIAN = (0.0, 0.0, 0.0, 0.4, 0.8, 0.8, 0.8, 0.0, 0.0, 0.8, 0.8, 0.8)  # its share, week by week
PER_WEEK = 100
_WEEK = 7 * 86400
_START = datetime(2026, 1, 5, tzinfo=UTC)


def stream(makers: dict[str, Maker], rng: random.Random) -> Iterator[Row]:
    """Yield the messages, oldest first."""
    for week, share in enumerate(LIRIAN):
        for second in sorted(rng.randrange(_WEEK) for _ in range(PER_WEEK)):
            language = "lirian" if rng.random() < share else "english"
            label = rng.choice(LABELS)
            yield {
                "timestamp": (_START + timedelta(weeks=week, seconds=second)).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "language": language,
                "source": "app" if language == "lirian" else rng.choice(("email", "chat", "form")),
                "text": makers[language].message(label, held_out=True, rng=rng),
                "label": label,
            }


def bundled(folder: Path) -> set[str]:
    """Return the texts of the bundled files, as `normal` sees them."""
    found = set()
    for path in sorted(folder.rglob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            found |= {normal(row["text"]) for row in csv.DictReader(file) if "text" in row}
    return found


def make(out: Path, folder: Path = HERE / "made") -> None:
    """Write the stream to `out`, apart from what is bundled in `folder`."""
    words = yaml.safe_load((HERE / "words.yaml").read_text(encoding="utf-8"))
    seen = bundled(folder)
    makers = {language: Maker(words, language, seen) for language in LANGUAGES}
    rows = list(stream(makers, random.Random(f"{SEED}/loop")))
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the stream of the loop's demo.")
    parser.add_argument("--out", type=Path, required=True, help="the CSV file to write")
    make(parser.parse_args().out)
