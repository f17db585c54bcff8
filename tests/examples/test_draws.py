"""What an epoch learns from: gold rows, replayed ones, and how they are walked through."""

from collections import Counter
from pathlib import Path

import pytest

from holdfast import spec
from holdfast.errors import BadInput
from holdfast.examples import gold, replay
from holdfast.training import batches

TASKS = [""] * 30 + ["english"] * 7 + ["javanese"] * 20


def replayed(epoch: int, seed: int = 3, share: float = 0.25) -> list[int]:
    return [i for i in replay.draw(TASKS, epoch, seed, replay.Options(share=share)) if TASKS[i]]


def test_gold_draws_every_row_to_be_learned_once() -> None:
    assert gold.draw(TASKS, 2, 3, gold.Options()) == list(range(30))


def test_replay_keeps_every_gold_row() -> None:
    drawn = replay.draw(TASKS, 0, 3, replay.Options())
    assert [i for i in drawn if not TASKS[i]] == list(range(30))


@pytest.mark.parametrize(("share", "expected"), [(0.25, 10), (0.5, 30), (0.1, 3)])
def test_replay_has_the_share_of_an_epoch(share: float, expected: int) -> None:
    assert len(replayed(0, share=share)) == expected
    assert expected / (30 + expected) == pytest.approx(share, abs=0.02)


def test_replay_splits_evenly_over_tasks() -> None:
    assert Counter(TASKS[i] for i in replayed(0)) == {"english": 5, "javanese": 5}


def test_every_row_is_replayed_once_before_any_comes_twice() -> None:
    english = [i for epoch in range(7) for i in replayed(epoch) if TASKS[i] == "english"]
    assert len(english) == 35
    for first in range(0, 35, 7):
        assert sorted(english[first : first + 7]) == list(range(30, 37))


def test_replay_depends_on_epoch_and_seed_alone() -> None:
    assert replayed(1) == replayed(1)
    assert replayed(1) != replayed(2)
    assert replayed(1, seed=3) != replayed(1, seed=4)


def test_united_choices_take_the_larger_count() -> None:
    chosen = {"gold": {}, "replay": {"share": 0.25}}
    united = batches.draws(chosen, TASKS, 3)(1)
    assert united == sorted(replay.draw(TASKS, 1, 3, replay.Options()))


def test_replay_without_remembered_rows_is_refused(tmp_path: Path) -> None:
    raw = {"name": "t", "start": {"model": "x"}, "learn": {"train": "a.csv"}, "examples": "replay"}
    with pytest.raises(BadInput, match="nothing to replay"):
        spec.parse(raw, tmp_path / "p.yaml")


def test_no_examples_are_refused(tmp_path: Path) -> None:
    raw = {"name": "t", "start": {"model": "x"}, "learn": {"train": "a.csv"}, "examples": {"gold": False}}
    with pytest.raises(BadInput, match="chooses nothing"):
        spec.parse(raw, tmp_path / "p.yaml")
