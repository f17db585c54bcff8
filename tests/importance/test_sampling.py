from collections import Counter

import pytest

from holdfast.errors import BadInput
from holdfast.importance import sampling


def rows(**counts):
    return [{"id": f"{label}{i}", "text": "x", "label": label} for label, n in counts.items() for i in range(n)]


def test_the_sample_is_balanced_and_seeded():
    data = rows(a=50, b=20, c=9)
    chosen = sampling.balanced(data, ("a", "b", "c"), 20, 7, "d")
    assert sorted(Counter(row["label"] for row in chosen).values()) == [6, 7, 7]
    assert len({row["id"] for row in chosen}) == 20
    assert chosen == sampling.balanced(data, ("a", "b", "c"), 20, 7, "d")
    assert chosen != sampling.balanced(data, ("a", "b", "c"), 20, 8, "d")


def test_a_small_label_leaves_room_to_the_others():
    chosen = sampling.balanced(rows(a=50, b=3), ("a", "b"), 20, 7, "d")
    assert Counter(row["label"] for row in chosen) == {"a": 17, "b": 3}
    assert len(sampling.balanced(rows(a=4, b=3), ("a", "b"), 20, 7, "d")) == 7


def test_a_missing_label_is_named():
    with pytest.raises(BadInput, match=r"`c` has 0 rows in nusax/javanese/train.*at least 2"):
        sampling.balanced(rows(a=5, b=5), ("a", "b", "c"), 20, 7, "nusax/javanese/train")


def test_a_label_with_one_row_is_too_few():
    with pytest.raises(BadInput, match="`b` has 1 rows"):
        sampling.balanced(rows(a=5, b=1), ("a", "b"), 20, 7, "d")


def test_too_few_examples_for_the_labels_are_refused():
    with pytest.raises(BadInput, match=r"assess\.examples.*5 examples are too few.*at least 6"):
        sampling.balanced(rows(a=5, b=5, c=5), ("a", "b", "c"), 5, 7, "d")
