"""Predictions for the rows of a table."""

from pathlib import Path

import numpy as np
import pytest

from holdfast import models, predictions
from holdfast.errors import BadInput
from holdfast.home import Home
from holdfast.records import Start


def test_softmax_against_its_definition() -> None:
    logits = np.array([[1.0, 2.0, -3.0], [1000.0, 0.0, 0.0]], np.float32)
    found = predictions.softmax(logits)
    first = np.exp([1.0, 2.0, -3.0]) / np.exp([1.0, 2.0, -3.0]).sum()
    assert np.allclose(found[0], first) and np.allclose(found[1], [1, 0, 0])


def test_rows_keep_what_they_had_and_bad_ones_are_named(tiny_start: Start, home: Home) -> None:
    model = models.load_with_head(tiny_start, home, "h", ("no", "yes"), 1)
    rows = [{"n": 1, "text": "good food"}, {"n": 2, "text": "bad movie"}]
    found = predictions.predict(model, rows, "text", Path("in.csv"))
    assert [row["n"] for row in found] == [1, 2]
    for row in found:
        chances = {label: row[f"probability_{label}"] for label in ("no", "yes")}
        assert row["prediction"] == max(chances, key=chances.__getitem__)
        assert sum(chances.values()) == pytest.approx(1, abs=1e-5)
    with pytest.raises(BadInput, match=r"in\.csv, row 1025, key `text`"):
        predictions.predict(model, [{"text": " "}], "text", Path("in.csv"), 1024)
    with pytest.raises(BadInput, match="Did you mean `text`"):
        predictions.predict(model, rows, "texts", Path("in.csv"))


def test_a_head_must_be_named_where_there_are_several(tiny_start: Start, home: Home) -> None:
    model = models.load_with_head(tiny_start, home, "a", ("x", "y"), 1)
    predictions.choose_head(model, None)
    assert model.head == "a"
    model.add_head("b", ("x", "y"), 2)
    with pytest.raises(BadInput, match="several heads"):
        predictions.choose_head(model, None)
    predictions.choose_head(model, "a")
    assert model.head == "a"
