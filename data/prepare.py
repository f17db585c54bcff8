"""Check the bundled data and describe it: `python data/prepare.py` writes `data/made/statistics.json`.

Stops with the file and line where a text occurs twice or in two files, or a label is unknown.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
from collections import Counter
from pathlib import Path

from make import LABELS, normal

HERE = Path(__file__).resolve().parent

Row = dict[str, str]


def check(files: dict[str, list[Row]]) -> None:
    """Raise `ValueError` for the first unknown label, and the first text that some earlier row has (see `normal`)."""
    first: dict[str, str] = {}
    for name, rows in files.items():
        for line, row in enumerate(rows, start=2):
            here = f"{name}, line {line}"
            if row["label"] not in LABELS:
                raise ValueError(f"{here}: unknown label {row['label']!r}, expected one of {', '.join(LABELS)}")
            if normal(row["text"]) in first:
                raise ValueError(f"{here}: the text is that of {first[normal(row['text'])]}")
            first[normal(row["text"])] = here


def describe(rows: list[Row], train: list[Row]) -> dict[str, object]:
    """Return counts, the median length in words, and the share of words that `train` does not have."""
    words = [word for row in rows for word in normal(row["text"]).split()]
    known = {word for row in train for word in normal(row["text"]).split()}
    return {
        "rows": len(rows),
        "labels": dict(sorted(Counter(row["label"] for row in rows).items())),
        "median_words": statistics.median(len(normal(row["text"]).split()) for row in rows),
        "words_not_in_train": round(sum(word not in known for word in words) / len(words), 4),
    }


def prepare(folder: Path) -> None:
    """Check the files under `folder` and write `statistics.json` beside them."""
    files = {str(path.relative_to(folder).as_posix()): _read(path) for path in sorted(folder.rglob("*.csv"))}
    check(files)
    trains = {Path(name).parent: rows for name, rows in files.items() if name.endswith("train.csv")}
    both = [row for rows in trains.values() for row in rows]
    found = {name: describe(rows, trains.get(Path(name).parent, both)) for name, rows in files.items()}
    text = json.dumps(found, indent=2, sort_keys=True) + "\n"
    (folder / "statistics.json").write_text(text, encoding="utf-8", newline="\n")


def _read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Check and describe the bundled data.")
    parser.add_argument("--folder", type=Path, default=HERE / "made", help="where it is (default: data/made)")
    prepare(parser.parse_args().folder)
