"""Rows as the rest of Holdfast knows them: strings `id`, `text` and `label`, other columns as JSON holds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast import tables
from holdfast.errors import BadInput

Row = dict[str, Any]


def rows(source: Sequence[Row], text: str, label: str, file: object = None) -> list[Row]:
    """Return the canonical rows of `source`, in order, one for each; `file` is named in messages.

    `text` and `label` say which columns those are. `id` is the source's `id` column where it has a value, else the
    1-based row number. Another column that already has one of these names is kept as `source.NAME`. Raises `BadInput`
    for a missing column, a text that is not a string, a label that is missing or neither text nor number.
    """
    if text == label:
        raise BadInput("the text and the label cannot be the same column", file=file, key=text)
    texts = tables.texts(source, text, file)
    tables.check_column(source, label, file)
    labels = [label_text(row[label], number, label, file) for number, row in enumerate(source, 1)]
    others = [{key: row[key] for key in row if key not in (text, label)} for row in source]
    return [_row(*parts) for parts in zip(range(1, len(source) + 1), texts, labels, others, strict=True)]


def _row(number: int, text: str, label: str, others: Row) -> Row:
    given = others.pop("id", None)
    name = str(number) if given is None or given == "" else str(given)
    kept = {f"source.{key}" if key in ("text", "label") else key: tables.plain(value) for key, value in others.items()}
    return {"id": name, "text": text, "label": label, **kept}


def label_text(value: Any, row: int, column: str, file: object = None) -> str:
    """Return a label as text: whole numbers without a fraction, true and false in lower case."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    if isinstance(value, str) and value.strip():
        return value
    missing = value is None or isinstance(value, str) or value != value  # NaN
    found = "missing" if missing else f"{type(value).__name__} {value!r:.40}"
    raise BadInput(f"the label is {found}", file=file, row=row, key=column, expected="text or a whole number")
