"""Splits are seeded, stratified, independent of row order, and never put one text in two parts."""

import random
from collections import Counter

import pytest

from holdfast.errors import BadInput
from holdfast.versioning import split

BOTH = {"valid": 0.1, "test": 0.2}


def made(counts, repeat=1):
    return [
        {"id": f"{label}{i}.{j}", "text": f"{label} text {i}", "label": label}
        for label, n in counts.items()
        for i in range(n)
        for j in range(repeat)
    ]


def texts(rows):
    return {split.same(row["text"]) for row in rows}


def test_parts_have_their_share_of_every_label_and_every_row_once():
    rows = made({"a": 100, "b": 50, "c": 10})
    parts = split.split(rows, BOTH, 7)
    counts = {name: Counter(row["label"] for row in part) for name, part in parts.items()}
    assert counts["valid"] == {"a": 10, "b": 5, "c": 1}
    assert counts["test"] == {"a": 20, "b": 10, "c": 2}
    assert sorted(row["id"] for part in parts.values() for row in part) == sorted(row["id"] for row in rows)
    order = [row["id"] for row in rows]
    for part in parts.values():
        assert part == sorted(part, key=lambda row: order.index(row["id"]))


def test_the_seed_decides_and_the_order_of_rows_does_not():
    rows = made({"a": 60, "b": 60})
    shuffled = random.Random(1).sample(rows, len(rows))
    first, again, other = (split.split(data, BOTH, seed) for data, seed in ((rows, 7), (shuffled, 7), (rows, 8)))
    assert {name: texts(part) for name, part in first.items()} == {name: texts(part) for name, part in again.items()}
    assert texts(first["test"]) != texts(other["test"])


def test_one_more_row_moves_at_most_one_row_per_boundary():
    rows = made({"a": 100})
    before, after = split.split(rows, BOTH, 7), split.split([*rows, {"text": "one more", "label": "a"}], BOTH, 7)
    assert len(texts(before["test"]) ^ texts(after["test"])) <= 2
    assert len(texts(before["valid"]) ^ texts(after["valid"])) <= 4


@pytest.mark.parametrize("seed", range(5))
def test_equal_texts_stay_in_one_part(seed):
    rows = made({"a": 40, "b": 40}, repeat=3)
    rows += [{**row, "text": f"  {row['text'].upper()} ", "label": "b"} for row in rows[::5]]
    parts = split.split(rows, BOTH, seed)
    seen = [texts(part) for part in parts.values()]
    assert sum(map(len, seen)) == len(set().union(*seen)) == 80
    shares = {name: len(part) / len(rows) for name, part in parts.items()}
    assert shares == pytest.approx({"train": 0.7, "valid": 0.1, "test": 0.2}, abs=0.04)


def test_texts_that_are_repeated_too_often_still_reach_every_part():
    rows = made({"a": 3}, repeat=20)
    assert {len(part) for part in split.split(rows, BOTH, 7).values()} == {20}


def test_three_rows_of_a_label_are_enough_and_two_are_not():
    assert [len(part) for part in split.split(made({"a": 3}), BOTH, 7).values()] == [1, 1, 1]
    with pytest.raises(BadInput, match=r"x\.csv: the label 'b' has too few rows \(2, 2 distinct texts\).*at least 3"):
        split.split(made({"a": 30, "b": 2}), BOTH, 7, "x.csv")
    assert len(split.split(made({"a": 30, "b": 2}), {"test": 0.2}, 7)["test"]) == 7


def test_repeated_rows_do_not_count_as_enough():
    with pytest.raises(BadInput, match=r"the label 'a' has too few rows \(40, 2 distinct texts\)"):
        split.split(made({"a": 2}, repeat=20), BOTH, 7)
