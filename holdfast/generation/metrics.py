"""How good generated answers are, item by item: exact, numeric, chosen option, token F1, and code that passes tests."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

from holdfast.generation import numbers, sandbox

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_MARKED = re.compile(r"\[\[BEGIN\]\](.*?)(?:\[\[DONE\]\]|\Z)", re.DOTALL)
_FENCED = re.compile(r"```[a-zA-Z0-9_+-]*\n(.*?)(?:```|\Z)", re.DOTALL)
_LETTER = re.compile(r"(?:\banswer\b(?:\s+is\b|\s*:)\s*\(?|\A\s*\(?)(?P<letter>[A-Z])(?=[\s).:,]|\Z)", re.IGNORECASE)


def normal(text: str) -> str:
    """Return a text without case, punctuation, English articles and extra white space (SQuAD's normalisation)."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact(answer: str, gold: str) -> bool:
    """Say whether two texts are the same up to case, punctuation, articles and white space.

    Texts that consist of nothing else (such as `+`) are compared but for case and white space at their ends.
    """
    if normal(answer) or normal(gold):
        return normal(answer) == normal(gold)
    return answer.strip().casefold() == gold.strip().casefold()


def numeric(answer: str, gold: str) -> bool:
    """Say whether two texts come to the same final number (`holdfast.generation.numbers.final`)."""
    return numbers.same(answer, gold)


def token_f1(answer: str, gold: str) -> float:
    """Return the F1 of the two bags of normalised words (SQuAD 1.1; Rajpurkar et al. 2016); two empty ones give 1."""
    said, wanted = normal(answer).split(), normal(gold).split()
    common = (Counter(said) & Counter(wanted)).total()
    if not said or not wanted:
        return float(said == wanted)
    return 2 * common / (len(said) + len(wanted))


def chosen(answer: str, choices: Sequence[str]) -> int | None:
    """Return which option a generated answer names, by its text or by its letter (A is the first), else None."""
    texts = [i for i, choice in enumerate(choices) if exact(answer, choice)]
    if len(texts) == 1:
        return texts[0]
    letters = [ord(match["letter"].upper()) - ord("A") for match in _LETTER.finditer(answer)]
    return letters[-1] if letters and letters[-1] < len(choices) else None


def code(answer: str) -> str:
    """Return the program in an answer: between [[BEGIN]] and [[DONE]], else in the first fence, else all of it."""
    for pattern in (_MARKED, _FENCED):
        found = pattern.search(answer)
        if found:
            return found[1].strip("\n") + "\n"
    return answer


def passes(answer: str, tests: str | Sequence[str], limits: sandbox.Limits = sandbox.Limits()) -> bool:
    """Say whether the program in an answer passes `tests` in the sandbox."""
    return sandbox.run(code(answer), tests, limits).passed
