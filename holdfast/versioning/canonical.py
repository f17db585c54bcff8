"""Rows as the rest of Holdfast knows them: strings `id`, `text` and `label`, other columns as JSON holds them.

For generation they are strings `id`, `prompt` and `answer`, and where they are named a list of strings each, `tests`
and `choices`; of minimal pairs also the strings `good` and `bad`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast import tables
from holdfast.errors import BadInput

Row = dict[str, Any]
_GOOD_AND_BAD = ("good", "bad")
_BLIMP = ("sentence_good", "sentence_bad")


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
    read = [{"text": one, "label": other} for one, other in zip(texts, labels, strict=True)]
    return _rows(source, read, (text, label))


def texts(source: Sequence[Row], text: str, file: object = None) -> list[Row]:
    """Return the canonical rows of texts without labels, `id` and `text` alone; raises `BadInput` as `rows` does."""
    read = [{"text": one} for one in tables.texts(source, text, file)]
    return [{name: row[name] for name in ("id", "text")} for row in _rows(source, read, (text,))]


def whole_texts(source: Sequence[Row], text: str, file: object = None) -> list[Row]:
    """Return the canonical rows of texts that are scored as they are: `prompt` and `answer` both hold the text."""
    read = [{"prompt": one, "answer": one} for one in tables.texts(source, text, file)]
    return [{name: row[name] for name in ("id", "prompt", "answer")} for row in _rows(source, read, (text,))]


def minimal_pairs(source: Sequence[Row], file: object = None) -> list[Row]:
    """Return the canonical rows of minimal pairs, the columns `good` and `bad`, or BLiMP's own where it has not both.

    `prompt` and `answer` both hold the good text: it is what a model should find likely. Raises `BadInput` for a
    missing column or a text that is not a string.
    """
    has = source[0] if source else {}
    names = _BLIMP if all(name in has for name in _BLIMP) and not set(_GOOD_AND_BAD) <= set(has) else _GOOD_AND_BAD
    good, bad = (tables.texts(source, name, file) for name in names)
    read = [{"prompt": one, "answer": one, "good": one, "bad": other} for one, other in zip(good, bad, strict=True)]
    return [{name: row[name] for name in ("id", *read[0])} for row in _rows(source, read, names)]


def pairs(source: Sequence[Row], columns: Mapping[str, str | None], file: object = None) -> list[Row]:
    """Return the canonical rows of prompts and answers, as `rows` does.

    `columns` names the columns of `prompt`, `answer`, and of `tests` and `choices` or None. A list may also be written
    as JSON, and a single test as text. Raises `BadInput` for a missing column or a value of another kind.
    """
    named = {role: column for role, column in columns.items() if column is not None}
    for column in named.values():
        if [*named.values()].count(column) > 1:
            raise BadInput("the prompt and the answer cannot be the same column", file=file, key=column)
    found = {role: tables.texts(source, named[role], file) for role in ("prompt", "answer")}
    lists = {role: _lists(source, named[role], file) for role in ("tests", "choices") if role in named}
    read = [{role: values[i] for role, values in (found | lists).items()} for i in range(len(source))]
    return _rows(source, read, tuple(named.values()))


def _lists(source: Sequence[Row], column: str, file: object) -> list[list[str]]:
    tables.check_column(source, column, file)
    found = []
    for number, row in enumerate(source, 1):
        value = _parsed(row[column])
        texts = isinstance(value, list) and all(isinstance(one, str) for one in value)
        if not texts or not "".join(value).strip():  # of tests with nothing in them every program is right
            raise BadInput("is not a list of texts", file=file, row=number, key=column, expected='such as ["a", "b"]')
        found.append(value)
    return found


def _parsed(value: Any) -> Any:
    """Return a list as it is, one written as JSON as the list, and any other text as a list of one."""
    if not isinstance(value, str):
        return value
    try:
        found = json.loads(value)
    except ValueError:
        found = None
    return found if isinstance(found, list) else [value]


def _rows(source: Sequence[Row], read: Sequence[Row], columns: tuple[str, ...]) -> list[Row]:
    """Return what was `read` of each row with its id, and beside it the other columns."""
    others = [{key: row[key] for key in row if key not in columns} for row in source]
    return [_row(number, *parts) for number, parts in enumerate(zip(read, others, strict=True), 1)]


def _row(number: int, read: Row, others: Row) -> Row:
    given = others.pop("id", None)
    name = str(number) if given is None or given == "" else str(given)
    taken = {*read, "text", "label"}
    kept = {f"source.{key}" if key in taken else key: tables.plain(value) for key, value in others.items()}
    return {"id": name, **read, **kept}


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
