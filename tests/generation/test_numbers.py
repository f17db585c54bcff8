"""The final number of an answer, on a sample labelled by hand."""

from fractions import Fraction

import pytest

from holdfast.generation import numbers

SAMPLE = [
    ("42", 42), ("42.", 42), (" 42 \n", 42), ("-7", -7), ("−7", -7), ("+5", 5), ("0", 0), ("007", 7),
    ("3.50", "7/2"), (".5", "1/2"), ("1,234", 1234), ("1,234,567.80", "1234567.8"), ("12,34", None), ("1,5", None),
    ("- 3", 3),    ("$18", 18), ("$1,000.00", 1000), ("€ 20", 20), ("-$5", -5), ("£3.20 each", "3.2"), ("50%", 50),
    ("5.0", 5), ("1e3", 1000), ("2.5E-1", "1/4"), ("3/4", "3/4"), ("3 / 4", "3/4"), ("1/0", None),
    ("12km", 12), ("12 km/h", 12), ("8th", None), ("on the 21st", None), ("H2O", None), ("x2", None), ("v1.2.3", None),
    ("", None), ("no idea", None), ("seven", None),
    ("The answer is 7.", 7), ("the answer is: 7", 7), ("The answer is $1,250.", 1250), ("**Answer:** 9", 9),
    ("The final answer is **12**.", 12), ("Answer = 3", 3), ("The answer is 12 apples for 3 people.", 12),
    ("The answer is 3 + 4 = 7.", 7), ("The answer is 7. There are 3 more questions.", 7),
    ("The answer is 5. Wait, the answer is 6.", 6), ("The answer is not 5 but 6.", 6), ("The answer is -3", -3),
    ("The answer is unclear, maybe 4", 4), ("The answer is easy: count them. It is 9", 9),
    ("First the answer is unknown.\nSo 2 + 2 = 4", 4), ("The answer is 3.75.", "3.75"),
    ("2 + 2 = 4", 4), ("2+2=4", 4), ("10-3=7", 7), ("5-3", 3), ("5 - 3", 3), ("(5)-3", 3), ("10 -3", -3),
    ("12 + 7: 2 + 7 = 9, 1 + 0 = 1, so 19", 19), ("She has 5 + 3 = 8 apples", 8), ("12 plus 7 equals 19.", 19),
    ("so 16 - 3 - 4 = <<16-3-4=9>>9 eggs.\nShe makes 9 * 2 = $<<9*2=18>>18.\n#### 18", 18),
    ("It is 5\n#### 1,020", 1020), ("#### -4", -4), ("####$7", 7), ("The answer is 3\n#### 4", 4),
    (r"\boxed{15}", 15), (r"so $x = \boxed{1{,}000}$ in 3 steps", 1000), (r"thus \boxed{-2} or so 3", -2),
    ("between 3 and 5", 5), ("page 12 of 30", 30), ("3.14.15", None), ("10:30", 30), ("7 (seven)", 7), ("=8", 8),
    ("I counted 20, then removed 5, which leaves 15 in all", 15), ("result is 6, not 7", 6), ("1 000", 0),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), SAMPLE)
def test_the_final_number(text, value):
    assert numbers.final(text) == (None if value is None else Fraction(value))


def test_numbers_are_the_same_whatever_they_look_like():
    assert numbers.same("The answer is $1,250.00.", "1250")
    assert numbers.same("0.75", "so 3/4")
    assert not numbers.same("0.3333", "1/3") and numbers.same("0.3333", "1/3", tolerance=0.001)
    assert not numbers.same("none", "none") and not numbers.same("5", "-5")
    assert numbers.same("0.1", "1/10")
