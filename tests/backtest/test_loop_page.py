"""The page of the loop's benchmark: the claim seen to hold and to fail, and the tables between the markers."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.loop import page, streams
from holdfast import home as homes
from holdfast import tables


def unit(seed: int, never: float, always: float, holdfast: float, retrains: int = 2) -> dict:
    def policy(name: str, accuracy: float, count: int) -> dict:
        numbers = {"retrains": count, "promoted": count, "rolled_back": 0, "alarms": 3, "seconds": 10.0 * count}
        return {"policy": name, "mean_accuracy": accuracy, "forgotten": 0.01, "forgotten_at_worst": 0.02, **numbers}

    return {
        "part": "nusax", "seed": seed,
        "policies": [policy("never", never, 0), policy("always", always, 9), policy("holdfast", holdfast, retrains)],
    }  # fmt: skip


GAINED = [(1, 0.50, 0.60), (2, 0.52, 0.60), (3, 0.48, 0.60)]  # +10, +8, +12 points: 5.0 to 15.0


@pytest.mark.parametrize(
    ("own", "retrains", "holds", "share"),
    [(0.585, 3, True, 0.85), (0.575, 3, False, 0.75), (0.585, 4, False, 0.85)],
)
def test_the_claim_where_there_is_something_to_be_gained(own, retrains, holds, share) -> None:
    found = page.summary([unit(seed, never, always, own, retrains) for seed, never, always in GAINED])
    always = found["policies"]["always"]
    assert (always["difference"], always["interval"]) == (0.1, [0.0503, 0.1497])  # t(.975, 2) = 4.3027, s = .02
    assert found["policies"]["holdfast"]["recovered"] == pytest.approx(share)
    assert found["claim"]["holds"] is holds


@pytest.mark.parametrize(("retrains", "holds"), [(1, True), (2, False)])
def test_the_claim_where_there_is_nothing_to_be_gained(retrains, holds) -> None:
    units = [unit(seed, 0.6, 0.6 + gain, 0.6, retrains) for seed, gain in ((1, 0.02), (2, -0.01), (3, 0.01))]
    assert page.summary(units)["claim"]["holds"] is holds


def test_one_seed_proves_nothing() -> None:
    assert page.summary([unit(1, 0.5, 0.6, 0.6)])["claim"]["holds"] is None


def test_tables_stand_between_the_markers(tmp_path: Path) -> None:
    file = tmp_path / "loop.md"
    file.write_text("# Page\n<!-- generated: loop -->\nstale\n<!-- end -->\nafter\n")
    units = [unit(seed, never, always, 0.575, 3) for seed, never, always in GAINED]
    page.write(units, file, tmp_path, {"cores": 2})
    text = file.read_text()
    assert "stale" not in text and text.startswith("# Page\n") and text.endswith("<!-- end -->\nafter\n")
    assert "| always | 0.6000 | +10.0 [+5.0, +15.0] | 100% | 9.0 | 9.0 | 0.0 | 1.0 | 2.0 | 90 |" in text
    assert "**The claim does not hold here.** `always` beats `never`" in text and "SemEval" not in text
    assert json.loads((tmp_path / "loop.json").read_text())["parts"]["nusax"]["seeds"] == [1, 2, 3]


def test_real_streams_use_a_sentence_once_and_go_with_time(tmp_path: Path, real_data: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOLDFAST_DATA", str(real_data))
    streams.write("nusax", 1, tmp_path, homes.make(tmp_path / "home"))
    found = {role: tables.read(tmp_path / f"{role}.csv") for role in ("train", "valid", "test", "stream")}
    assert {role: len(rows) for role, rows in found.items()} == {"train": 250, "valid": 50, "test": 100, "stream": 600}
    ids = Counter(row["id"] for rows in found.values() for row in rows)
    assert len(ids) == 1000 and set(ids.values()) == {1}
    languages = [row["language"] for row in found["stream"]]
    changes = [i for i, (one, two) in enumerate(pairwise(languages), 1) if one != two]
    assert changes == [100, 350] and languages[::250] == ["english", "indonesian", "javanese"]
