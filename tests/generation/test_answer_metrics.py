"""Metrics of single answers against cases worked out by hand."""

import pytest

from holdfast.generation import metrics


@pytest.mark.parametrize(
    ("answer", "gold", "right"),
    [
        ("The cat.", "cat", True), ("a  Cat!", "the cat", True), ("cats", "cat", False), ("", "", True),
        ("", "cat", False), ("+", "+", True), ("+", "-", False), ("tac", "cat", False), ("theater", "ater", False),
        ("don't", "dont", True), ("a", "b", False),
    ],
)  # fmt: skip
def test_exact(answer, gold, right):
    assert metrics.exact(answer, gold) is right


def test_the_letter_a_is_not_an_article_of_nothing():
    assert metrics.exact("a", "A") and not metrics.exact("a", "the")


@pytest.mark.parametrize(
    ("answer", "gold", "f1"),
    [
        ("the big red dog", "red dog", 2 * 1 * (2 / 3) / (1 + 2 / 3)), ("dog", "cat", 0.0), ("", "", 1.0),
        ("", "x", 0.0), ("dog dog", "dog", 2 * 0.5 * 1 / 1.5), ("a dog", "the Dog!", 1.0),
    ],
)  # fmt: skip
def test_token_f1_is_the_harmonic_mean_of_precision_and_recall(answer, gold, f1):
    assert metrics.token_f1(answer, gold) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("answer", "index"),
    [
        ("Paris", 1), ("paris.", 1), ("B", 1), ("(b)", 1), ("B. Paris", 1), ("The answer is C", 2), ("Answer: A.", 0),
        ("Because of x, the answer is (B).", 1), ("E", None), ("Because", None), ("I say Paris", None),
        ("the answer is A, no, the answer is B", 1),
    ],
)  # fmt: skip
def test_the_chosen_option(answer, index):
    assert metrics.chosen(answer, ["London", "Paris", "Rome"]) == index


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("[[BEGIN]]\nx = 1\n[[DONE]] bye", "x = 1\n"), ("Here:\n```python\nx = 1\n```\nand\n```\ny\n```", "x = 1\n"),
        ("```\nx = 1", "x = 1\n"), ("x = 1", "x = 1"), ("[[BEGIN]]x = 1", "x = 1\n"),
    ],
)  # fmt: skip
def test_the_program_in_an_answer(answer, code):
    assert metrics.code(answer) == code


def test_code_passes_its_tests_or_does_not():
    answer = "Sure!\n```python\ndef add(a, b):\n    return a + b\n```"
    assert metrics.passes(answer, ["assert add(1, 2) == 3"])
    assert not metrics.passes(answer, ["assert add(1, 2) == 4"])


def test_numeric():
    assert metrics.numeric("so The answer is 1,000.", "1000") and not metrics.numeric("no number", "no number")
