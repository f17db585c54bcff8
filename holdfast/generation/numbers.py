"""The final number of an answer, exactly: what a worked answer comes to, however it is written.

The rules are ours: S3FT's own (`holdfast.judges.number`) could not be read, and these are inferred.
"""

from __future__ import annotations

import re
from fractions import Fraction

_PLAIN = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
_NUMBER = re.compile(
    rf"""
    (?<![\w.,])                              # not inside a word, a version or another number
    (?P<sign>(?:(?<![\d)%])|(?<=\s))[-+])?      # a sign, not the minus between two numbers
    (?:[$€£¥]\s?)?
    (?P<value>{_PLAIN})
    (?:[eE](?P<power>[-+]?\d{{1,3}})\b)?
    (?:\s?/\s?(?P<below>\d+(?:\.\d+)?)(?![\d/]))?
    (?!\d|[.,]\d|(?:st|nd|rd|th)\b)
    """,
    re.VERBOSE,
)
_MARKS = (
    re.compile(r"####[ \t]*(?P<said>[^\n]*)"),
    re.compile(r"\\boxed\s*\{(?P<said>[^{}]*)\}"),
    re.compile(
        r"\b(?:final\s+)?(?:answer|result)\b(?:\s+(?:is|equals|comes\s+to)\b|\s*[:=])[\s:*=]*+"
        r"(?P<said>(?!not\b)(?:[^\n.;!?]|[.](?=\d))*)",
        re.IGNORECASE,
    ),
)


def final(text: str) -> Fraction | None:
    """Return the number that `text` gives as its result, or None where it has none.

    That is the number behind the last `####`, else in the last `\\boxed{}`, else behind the last "answer is" (or
    "answer:", "result is"): of an equation there what follows the last `=`, else the first number; and without any of
    these the last number of the text. Commas between thousands, currency signs, units, `%` (5% is 5), trailing zeros
    and full stops do not matter; `3/4` is a fraction. Ordinals, numbers inside words, and what a decimal comma would
    make ambiguous (`1,5`) are not numbers.
    """
    text = text.replace("−", "-").replace("–", "-").replace("**", " ").replace("\\$", "$").replace("{,}", ",")
    for mark in _MARKS:
        for match in reversed(list(mark.finditer(text))):
            said = match["said"].rpartition("=")[2]
            found = _numbers(said)
            if found:
                return found[0]
    every = _numbers(text)
    return every[-1] if every else None


def same(first: str, second: str, tolerance: float = 0.0) -> bool:
    """Say whether two texts come to the same number, up to an absolute `tolerance`; no number equals nothing."""
    one, other = final(first), final(second)
    return one is not None and other is not None and abs(one - other) <= Fraction(tolerance)


def _numbers(text: str) -> list[Fraction]:
    found = (_value(match) for match in _NUMBER.finditer(text))
    return [value for value in found if value is not None]


def _value(match: re.Match[str]) -> Fraction | None:
    value = Fraction(match["value"].replace(",", "")) * Fraction(10) ** int(match["power"] or 0)
    if match["below"]:
        below = Fraction(match["below"])
        if not below:
            return None
        value /= below
    return -value if match["sign"] == "-" else value
