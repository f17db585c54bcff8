"""Answers that give away the prompt they were written under (the string filters of SDFT, Yang et al., ACL 2024)."""

from __future__ import annotations

import re
from collections.abc import Iterator

_PHRASES = (
    "reference answer", "reference solution", "reference response", "given reference", "the reference",
    "your response", "my response", "in my own words", "in your own words",
)  # fmt: skip
_TURN = re.compile(r"\s*(?:user|human|assistant|model|system|response|answer|question|instruction)\s*:", re.IGNORECASE)
_PLACE = re.compile(r"\{\w+\}|\n")
_SENTENCE = re.compile(r"\n|(?<=[.!?:])\s|(?<=[。！？：])")  # where a line or a sentence ends
_LABEL = re.compile(r"\W*(.*\w)\W*[:：]\W*")
_COLON = r"[^\w\n]*[:：]"
_START = r"(?:\A|[\n.!?。！？])\W*"  # of a line or a sentence, with what may stand before its first word
_ENOUGH_WORDS = 4  # of a sentence of the scaffold, that count wherever they stand
_SHORT_LABEL = 2  # characters: the A of "plan A: wait" is no label


def leak(answer: str, prompt: str, gold: str, scaffold: str) -> str | None:
    """Return what an answer leaks of the `scaffold` (the paraphrase prompt, unfilled), or None.

    That is a phrase about references or responses, a line, sentence or label of the scaffold, none of which the prompt
    or the gold answer says itself, or an opening that announces whose turn it is, unlike the gold answer. Words are
    compared whole, without case and punctuation. A line or sentence of fewer than four words counts where it is a whole
    line or sentence of the answer, so that `The answer` forbids nobody to say what the answer is; for labels
    (`Question:`) see `_labelled`.
    """
    for phrase in (*_PHRASES, *_pieces(scaffold)):
        if _says(answer, phrase) and not _says(prompt, phrase) and not _says(gold, phrase):
            return phrase
    turn = _TURN.match(answer)
    if turn and not _TURN.match(gold):
        return turn[0].strip()
    return None


def _pieces(scaffold: str) -> Iterator[str]:
    """Give the lines, sentences and labels of a scaffold, and what stands between its places, where there are words."""
    for part in _PLACE.split(scaffold):
        yield from (piece.strip() for piece in _SENTENCE.split(part) if _words(piece))


def _says(text: str, piece: str) -> bool:
    words, label = _words(piece), _LABEL.fullmatch(piece)
    if piece in _PHRASES or len(words) >= _ENOUGH_WORDS:
        return f" {' '.join(words)} " in f" {' '.join(_words(text))} "
    if any(_words(part) == words for part in _SENTENCE.split(text)):
        return True
    return label is not None and _labelled(text, label[1])


def _labelled(text: str, label: str) -> bool:
    """Say whether a label with its colon stands in a text: at the start of a line or sentence in any case, elsewhere
    as the scaffold writes it, with a capital and not behind another: `Final Answer:` is not the label `Answer:`.
    """
    pattern = r"\W+".join(map(re.escape, re.findall(r"\w+", label))) + _COLON
    if re.search(_START + pattern, text, re.IGNORECASE):
        return True
    if len(label) <= _SHORT_LABEL or not label[0].isupper():
        return False
    before = (re.search(r"(\w+)\s*\Z", text[: found.start()]) for found in re.finditer(rf"\b{pattern}", text))
    return any(word is None or not word[1][0].isupper() for word in before)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
