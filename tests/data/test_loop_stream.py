"""The stream of the loop's demo: the same bytes every time, no text that is bundled, and a change that returns."""

import csv
import subprocess
import sys
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_it_is_made_the_same_and_its_change_returns(tmp_path: Path) -> None:
    for name in ("one.csv", "two.csv"):
        subprocess.run([sys.executable, ROOT / "data" / "make_loop.py", "--out", tmp_path / name], check=True)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    with (tmp_path / "one.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    times, texts = [row["timestamp"] for row in rows], [row["text"] for row in rows]
    assert len(rows) == 1200 == len(set(texts)) and times == sorted(times)
    shares = [sum(row["language"] == "lirian" for row in rows[i : i + 100]) for i in range(0, 1200, 100)]
    assert [changed for changed, _ in groupby(shares, lambda share: share > 20)] == [False, True, False, True]
    bundled = set()
    for path in (ROOT / "data" / "made").rglob("*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            bundled |= {row.get("text") for row in csv.DictReader(file)}
    assert not bundled & set(texts)
