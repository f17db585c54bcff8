"""Production rows as the champion sees them: its prediction and probabilities where the row has none, its embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast import inference, predictions, rows

if TYPE_CHECKING:
    from holdfast.models import Model

Row = dict[str, Any]


@dataclass(frozen=True)
class Observed:
    """Rows with `prediction` and `probabilities`, and their embeddings, float32 [rows, hidden], where wanted."""

    rows: list[Row]
    embeddings: np.ndarray | None


def observe(model: Model, given: Sequence[Row], max_length: int, precision: str, embed: bool = True) -> Observed:
    """Return `given` as the model sees it; a prediction that a row has, of what was in production then, is left."""
    lacking = [i for i, row in enumerate(given) if not row.get("prediction")]
    logits = inference.logits(
        model, rows.texts(given[i] for i in lacking), max_length=max_length, precision=precision
    )  # fmt: skip
    seen = [dict(row) for row in given]
    for i, chances in zip(lacking, predictions.softmax(logits), strict=True):
        named = {label: round(float(p), 6) for label, p in zip(model.labels, chances, strict=True)}
        seen[i] |= {"prediction": model.labels[int(np.argmax(chances))], "probabilities": named}
    texts = rows.texts(given)
    embeddings = inference.features(model, texts, max_length=max_length, precision=precision) if embed else None
    return Observed(seen, embeddings)
