"""Answers that give away the prompt they were written under (the string filters of SDFT, Yang et al., ACL 2024)."""

from __future__ import annotations

import re

from holdfast.generation import metrics

_PHRASES = (
    "reference answer", "reference solution", "reference response", "given reference", "the reference",
    "your response", "my response", "in my own words", "in your own words",
)  # fmt: skip
_TURN = re.compile(r"\s*(?:user|human|assistant|model|system|response|answer|question|instruction)\s*:", re.IGNORECASE)
_FEWEST_WORDS = 4  # of a sentence of the scaffold that counts as given away


def leak(answer: str, prompt: str, gold: str, scaffold: str) -> str | None:
    """Return what an answer leaks of the `scaffold` (the paraphrase prompt, unfilled), or None.

    That is a phrase about references or responses, an opening that announces whose turn it is, or a sentence of the
    scaffold. What the prompt or the gold answer itself says is no leak.
    """
    own = metrics.normal(f"{prompt}\n{gold}")
    said = metrics.normal(answer)
    for phrase in (*_PHRASES, *_sentences(scaffold)):
        plain = metrics.normal(phrase)
        if plain in said and plain not in own:
            return phrase
    turn = _TURN.match(answer)
    if turn and not _TURN.match(gold):
        return turn[0].strip()
    return None


def _sentences(scaffold: str) -> list[str]:
    parts = re.split(r"\{\w+\}|\n|(?<=[.!?:])\s", scaffold)
    return [part.strip() for part in parts if len(part.split()) >= _FEWEST_WORDS]
