"""Predictions for rows of any table: the label and the probability of every label beside what the row had."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast import choices, inference
from holdfast.errors import BadInput
from holdfast.generation import greedy

if TYPE_CHECKING:
    from holdfast.models import Model


@dataclass(frozen=True)
class Reading:
    """How texts are read: the column that holds them, and the version's own length limit in tokens and precision."""

    column: str
    max_length: int
    precision: str


def predict(
    model: Model, rows: list[dict[str, Any]], reading: Reading, file: Path, first: int = 0
) -> list[dict[str, Any]]:
    """Return `rows` with `prediction` and `probability_LABEL` columns; `first` is how many rows of `file` came before.

    Raises `BadInput` naming the file, row and column of a missing or empty text.
    """
    texts = [_text(row, reading.column, file, first + i + 1) for i, row in enumerate(rows)]
    logits = inference.logits(model, texts, max_length=reading.max_length, precision=reading.precision)
    probabilities = softmax(logits)
    return [{**row, **_columns(model.labels, p)} for row, p in zip(rows, probabilities, strict=True)]


def answer(
    model: Model, rows: list[dict[str, Any]], reading: Reading, file: Path, first: int = 0, most: int = 64
) -> list[dict[str, Any]]:
    """Return `rows` with the greedy `answer` of a decoder, of at most `most` tokens; see `predict` for the rest."""
    prompts = [_text(row, reading.column, file, first + i + 1) for i, row in enumerate(rows)]
    said = greedy.answers(model, prompts, greedy.Settings(max_new_tokens=most, precision=reading.precision))
    return [{**row, "answer": one.text} for row, one in zip(rows, said, strict=True)]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the softmax over the last axis, in float64."""
    exponentials: np.ndarray = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    normalised: np.ndarray = exponentials / exponentials.sum(-1, keepdims=True)
    return normalised


def _text(row: dict[str, Any], column: str, file: Path, number: int) -> str:
    if column not in row:
        remedy = choices.nearest(column, list(row)) or "Name the column of texts with --text."
        raise BadInput("no such column", file=file, key=column, expected=f"one of {', '.join(row)}", remedy=remedy)
    value = row[column]
    if not isinstance(value, str) or not value.strip():
        raise BadInput(f"the {column} is empty", file=file, row=number, key=column)
    return value


def _columns(labels: tuple[str, ...], probabilities: np.ndarray) -> dict[str, Any]:
    best = int(np.argmax(probabilities))
    chances = {f"probability_{label}": round(float(p), 6) for label, p in zip(labels, probabilities, strict=True)}
    return {"prediction": labels[best], **chances}
