"""What a model said is kept, verified, and never taken for something else."""

import numpy as np
import pytest

from holdfast.forgetting import cached
from holdfast.forgetting.scorer import Scorer
from holdfast.spec import Training

from .conftest import LABELS, dataset


class Counted:
    """A maker that counts how often it was asked."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return np.arange(6, dtype=np.float32).reshape(2, 3)


def test_made_once_per_key(home):
    maker = Counted()
    for _ in range(3):
        assert cached.array({"a": 1}, maker, home).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert maker.calls == 1
    cached.array({"a": 2}, maker, home)
    assert maker.calls == 2


def test_a_damaged_array_is_made_again(home):
    maker = Counted()
    cached.array({"a": 1}, maker, home)
    for path in home.store.root.rglob("scores.safetensors"):
        path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert cached.array({"a": 1}, maker, home).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert maker.calls == 2
    cached.array({"a": 1}, maker, home)
    assert maker.calls == 2


@pytest.mark.parametrize("content", ["", "{}", "not json"])
def test_a_damaged_index_is_made_again(home, content):
    maker = Counted()
    cached.array({"a": 1}, maker, home)
    for path in (home.cache / "scores").iterdir():
        path.write_text(content)
    cached.array({"a": 1}, maker, home)
    assert maker.calls == 2


def test_an_index_that_points_at_other_scores_is_not_believed(home):
    cached.array({"a": 1}, lambda: np.zeros((2, 2), np.float32), home)
    other = next((home.cache / "scores").iterdir())
    maker = Counted()
    cached.array({"a": 2}, maker, home)
    mine = next(path for path in (home.cache / "scores").iterdir() if path != other)
    mine.write_text(other.read_text())
    assert cached.array({"a": 2}, maker, home).shape == (2, 3)
    assert maker.calls == 2


def test_a_scorer_loads_no_model_for_what_is_known(home, tiny_start, make, texts, monkeypatch):
    start = make(tiny_start, mood=LABELS)
    data, short = dataset(home, texts, ["positive"] * 120), Training(max_length=32, precision="fp32")
    first = Scorer(start, short, home)
    logits, features = first.logits(data, "mood"), first.features(texts[:5])

    monkeypatch.setattr("holdfast.models.load", lambda *_: pytest.fail("loaded"))
    again = Scorer(start, short, home)
    assert np.array_equal(again.logits(data, "mood"), logits)
    assert np.array_equal(again.features(texts[:5]), features)
    for other in (
        lambda: Scorer(start, Training(max_length=16, precision="fp32"), home).logits(data, "mood"),
        lambda: again.logits(dataset(home, texts[1:], ["positive"] * 119), "mood"),
        lambda: again.features(texts[:6]),
        lambda: Scorer(tiny_start, short, home).features(texts[:5]),
    ):
        with pytest.raises(pytest.fail.Exception):
            other()
