"""Rows, measured: what the checks read of a window or of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast.drift import descriptors, terms, times

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from holdfast.drift.settings import Columns

Row = dict[str, Any]


@dataclass(frozen=True)
class Sample:
    """n measured rows.

    `descriptors` [n, d] and `terms` (hashed n-grams, sparse) measure the texts; `embeddings` [n, hidden] may be absent.
    `labels`, `predictions` and the values of `segments` are None where unknown, `confidences` (the probability of the
    prediction) and `times` (seconds since 1970) NaN. `judging` marks rows that the model did not learn from: only
    these say how well it does.
    """

    ids: np.ndarray
    texts: np.ndarray
    descriptors: np.ndarray
    terms: csr_matrix
    embeddings: np.ndarray | None
    labels: np.ndarray
    predictions: np.ndarray
    confidences: np.ndarray
    segments: dict[str, np.ndarray]
    times: np.ndarray
    judging: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, chosen: np.ndarray) -> Sample:
        """Return the rows at the positions, or where the mask is true."""
        per_row = ("ids", "texts", "descriptors", "terms", "labels", "predictions", "confidences", "times", "judging")
        values: dict[str, Any] = {name: getattr(self, name)[chosen] for name in per_row}
        values["embeddings"] = None if self.embeddings is None else self.embeddings[chosen]
        values["segments"] = {name: column[chosen] for name, column in self.segments.items()}
        return replace(self, **values)

    def at_most(self, most: int, seed: int) -> Sample:
        """Return all rows, or `most` of them drawn by `seed`, in their order."""
        if len(self) <= most:
            return self
        return self.take(np.sort(np.random.default_rng(seed).choice(len(self), most, replace=False)))


def measure(
    rows: Sequence[Row], columns: Columns, embeddings: np.ndarray | None = None, judging: Sequence[bool] | None = None
) -> Sample:
    """Return rows (`id`, `text`, and where known `label`, `prediction`, `probabilities`) measured.

    `judging` says of each row whether the model did not learn from it; all are taken for such where it is not given.
    """
    texts = [row["text"] for row in rows]
    return Sample(
        ids=_column(rows, "id"),
        texts=objects(texts),
        descriptors=descriptors.describe(texts),
        terms=terms.count(texts),
        embeddings=embeddings,
        labels=_column(rows, "label"),
        predictions=_column(rows, "prediction"),
        confidences=np.array([_confidence(row) for row in rows], dtype=float),
        segments={name: _column(rows, name) for name in columns.segments},
        times=np.array([times.seconds(row.get(columns.time)) for row in rows], dtype=float),
        judging=np.ones(len(rows), bool) if judging is None else np.asarray(judging, bool),
    )


def _confidence(row: Row) -> float:
    chances = row.get("probabilities")
    return float(chances.get(row.get("prediction"), np.nan)) if isinstance(chances, dict) else np.nan


def _column(rows: Sequence[Row], name: str) -> np.ndarray:
    values = [row.get(name) for row in rows]
    return objects([None if value is None or value == "" else str(value) for value in values])


def objects(values: Sequence[Any]) -> np.ndarray:
    """Return values as a column [n] that may hold None."""
    column: np.ndarray = np.empty(len(values), dtype=object)
    column[:] = values
    return column
