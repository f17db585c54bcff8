"""Predictions for the rows of a table."""

from pathlib import Path

import numpy as np
import pytest

from holdfast import models, predictions
from holdfast.errors import BadInput
from holdfast.home import Home
from holdfast.records import Start

READING = predictions.Reading("text", 64, "fp32")


def test_softmax_against_its_definition() -> None:
    logits = np.array([[1.0, 2.0, -3.0], [1000.0, 0.0, 0.0]], np.float32)
    found = predictions.softmax(logits)
    first = np.exp([1.0, 2.0, -3.0]) / np.exp([1.0, 2.0, -3.0]).sum()
    assert np.allclose(found[0], first) and np.allclose(found[1], [1, 0, 0])


def test_rows_keep_what_they_had_and_bad_ones_are_named(tiny_start: Start, home: Home) -> None:
    model = models.load_with_head(tiny_start, home, "h", ("no", "yes"), 1)
    rows = [{"n": 1, "text": "good food"}, {"n": 2, "text": "bad movie"}]
    found = predictions.predict(model, rows, READING, Path("in.csv"))
    assert [row["n"] for row in found] == [1, 2]
    for row in found:
        chances = {label: row[f"probability_{label}"] for label in ("no", "yes")}
        assert row["prediction"] == max(chances, key=chances.__getitem__)
        assert sum(chances.values()) == pytest.approx(1, abs=1e-5)
    with pytest.raises(BadInput, match=r"in\.csv, row 1025, key `text`"):
        predictions.predict(model, [{"text": " "}], READING, Path("in.csv"), 1024)
    with pytest.raises(BadInput, match="Did you mean `text`"):
        predictions.predict(model, rows, predictions.Reading("texts", 64, "fp32"), Path("in.csv"))
