"""The table's numbers, from a case worked by hand, and the picture."""

from pathlib import Path

import pytest

from holdfast.backtest import picture, steps, summary

pytestmark = pytest.mark.pictures

ABOUT = {"pipeline": "toy", "stream": "stream.csv"}
EARLIER = {"first": 0.90, "a": 0.80, "b": 0.85}


@pytest.fixture
def found(step) -> dict[str, list[steps.Step]]:
    promoted = {"retrained": "promoted", "outcome": "retrain"}
    return {
        "never": [step("never", n, right) for n, right in enumerate((8, 4, 4, 4), 1)],
        "always": [
            step("always", 1, 8, champion="2", champion_digest="a", seconds=10.0, **promoted),
            step("always", 2, 6, champion="3", champion_digest="b", seconds=10.0, **promoted),
            step("always", 3, 8, champion="3", champion_digest="b", seconds=10.0, retrained="refused"),
            step("always", 4, 8, champion="2", champion_digest="a", seconds=10.0, rolled_back="worse", **promoted),
        ],
        "holdfast": [
            step("holdfast", 1, 8),
            step("holdfast", 2, 4, drifted=("content",)),
            step("holdfast", 3, 6, drifted=("content",), champion="2", champion_digest="b", **promoted),
            step("holdfast", 4, 10, champion="2", champion_digest="b"),
        ],
    }


def test_numbers_worked_by_hand(found) -> None:
    document = summary.document(ABOUT, found, EARLIER, 0.90)
    never, always, holdfast = document["policies"]
    assert [one["mean_accuracy"] for one in (never, always, holdfast)] == [0.5, 0.75, 0.7]
    assert never["difference"] is None
    # Differences 0, .2, .4, .4: mean .25, s = .191485, t(.975, 3) = 3.182446, reach = 3.182446 * .191485 / 2 = .304695
    assert always["difference"] == {"mean": 0.25, "interval": [-0.0547, 0.5547]}
    assert (never["recovered"], always["recovered"], holdfast["recovered"]) == (0.0, 1.0, 0.8)
    assert [(one["retrains"], one["promoted"], one["rolled_back"]) for one in (never, always, holdfast)] == [
        (0, 0, 0), (4, 3, 1), (1, 1, 0),
    ]  # fmt: skip
    assert [(one["forgotten"], one["forgotten_at_worst"]) for one in (never, always, holdfast)] == [
        (0.0, 0.0), (0.1, 0.1), (0.05, 0.05),
    ]  # fmt: skip
    assert [(one["alarms"], one["seconds"]) for one in (never, always, holdfast)] == [(0, 8.0), (0, 40.0), (2, 8.0)]


def test_windows_of_different_sizes_weigh_by_their_rows(step) -> None:
    found = {"never": [step("never", 1, 10, rows=10), step("never", 2, 15, rows=30)]}
    assert summary.document(ABOUT, found, EARLIER, 0.9)["policies"][0]["mean_accuracy"] == 0.625


def test_nothing_is_recovered_where_nothing_is_to_be_gained() -> None:
    assert summary.recovered(0.6, 0.6, 0.7) is None
    assert summary.recovered(0.6, 0.5, 0.7) is None
    assert summary.recovered(None, 0.7, 0.7) is None
    assert summary.recovered(0.6, 0.8, 0.5) == -0.5


def test_the_table(found) -> None:
    document = summary.document(ABOUT, found, EARLIER, 0.90)
    lines = summary.markdown(document).splitlines()
    assert lines[3] == "| always | 0.7500 | +25.0 [-5.5, +55.5] | 100% | 4 | 3 | 1 | 10.0 | 10.0 | 40 |"
    assert lines[2].startswith("| never | 0.5000 | - | 0% | 0 |")
    assert len({line.count("|") for line in lines}) == 1


def test_the_picture_is_drawn_the_same_twice(found, tmp_path: Path) -> None:
    document = summary.document(ABOUT, found, EARLIER, 0.90)
    for name in ("one.png", "two.png"):
        picture.draw(document, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert (tmp_path / "one.png").stat().st_size > 10_000


def test_steps_are_kept_and_found(step, tmp_path: Path) -> None:
    kept = steps.Kept(tmp_path)
    assert kept.step("never", 3) is None and kept.score("a") is None
    kept.keep(step("never", 3, 5))
    kept.keep_score("a", 0.75)
    assert kept.step("never", 3) == step("never", 3, 5) and kept.step("never", 3).accuracy == 0.5
    assert kept.step("always", 3) is None and kept.score("a") == 0.75
