"""Canonical rows: names, ids, labels as text, nothing lost, and bad rows named."""

import datetime

import pytest

from holdfast.errors import BadInput
from holdfast.versioning import canonical


def test_columns_are_renamed_and_the_others_kept():
    day = datetime.date(2026, 1, 2)
    rows = canonical.rows([{"tweet": "hi", "mood": "glad", "label": 9, "text": "raw", "when": day}], "tweet", "mood")
    assert rows == [
        {"id": "1", "text": "hi", "label": "glad", "source.label": 9, "source.text": "raw", "when": "2026-01-02"}
    ]


def test_ids_come_from_the_source_or_the_row_number():
    source = [{"id": given, "text": "t", "label": "a"} for given in (17, "x", "", None)]
    assert [row["id"] for row in canonical.rows(source, "text", "label")] == ["17", "x", "3", "4"]
    assert [row["id"] for row in canonical.rows([{"id": "hello", "label": "a"}], "id", "label")] == ["1"]


@pytest.mark.parametrize(
    ("value", "label"), [("a", "a"), (" a ", " a "), (0, "0"), (2.0, "2"), (True, "true"), (False, "false")]
)
def test_labels_become_text(value, label):
    assert canonical.rows([{"text": "t", "label": value}], "text", "label")[0]["label"] == label


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, "missing"),
        ("", "missing"),
        ("  ", "missing"),
        (float("nan"), "missing"),
        (0.5, "float 0.5"),
        ([1], "list"),
    ],
)
def test_a_label_that_is_none_names_its_row(value, found):
    source = [{"text": "t", "label": "a"}, {"text": "u", "label": value}]
    with pytest.raises(BadInput, match=rf"x\.csv, row 2, key `label`: the label is {found}"):
        canonical.rows(source, "text", "label", "x.csv")


def test_a_missing_label_column_names_the_nearest():
    with pytest.raises(BadInput, match="key `label`: no such column; expected `lable`"):
        canonical.rows([{"text": "t", "lable": "a"}], "text", "label")


def test_one_column_cannot_be_both():
    with pytest.raises(BadInput, match="cannot be the same column"):
        canonical.rows([{"text": "t"}], "text", "text")
