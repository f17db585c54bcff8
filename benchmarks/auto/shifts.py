"""Two made shifts of the bundled English messages, seeded, each with a part of the network that ought to move.

Both start from a model that knows the sentiment of `data/made/english`.

*input*: what words mean has changed. Of eight opinion words, four have changed sides (`terrible` is praise); grammar,
labels and everything else stay. Only frames that turn a word round are used (`not terrible at all`, `at first terrible,
but now ...`), of which valid and test hold unseen ones: who relearns the words low in the network still knows how they
combine, who relearns high would have to learn that anew. (With the plain frames too, `the parcel was terrible`, high
layers did better even when tuned in full, 79.0% against 75.0% at seed 1: a word by itself can be relearned anywhere.)

*output*: what the labels mean has changed. `positive` and `negative` have changed places, in messages whose opinion
words are others in valid and test than in train: who relearns the labels high in the network gets every word right,
who relearns words gets those right that it saw.
"""

import copy
import random
import sys
from pathlib import Path
from typing import Any

import yaml

DATA = Path(__file__).resolve().parents[2] / "data"
sys.path.insert(0, str(DATA))

import make  # noqa: E402

SIZES = {"train": 240, "valid": 200, "test": 400}
RIGHT = {"input": "low", "output": "high"}
_KEPT = 4  # opinion words per label of the input shift, half of which change sides
_SEEN = 6  # opinion words per label that the output shift's train holds; the other ten are for valid and test
_OTHER = {"positive": "negative", "negative": "positive", "neutral": "neutral"}


def rows(kind: str, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of `train`, `valid` and `test` of a shift."""
    words = yaml.safe_load((DATA / "words.yaml").read_text(encoding="utf-8"))
    seen: set[str] = set()
    return {role: _split(kind, seed, role, words, seen) for role in SIZES}


def _split(kind: str, seed: int, role: str, words: dict[str, Any], seen: set[str]) -> list[dict[str, Any]]:
    words = copy.deepcopy(words)
    if kind == "input":
        _only_turning(words["english"]["frames"])
    maker = make.Maker(words, "english", seen)
    drawn = random.Random(f"{kind}/{seed}")
    shuffled = {label: drawn.sample(known, len(known)) for label, known in maker.opinions.items()}
    maker.opinions = _remapped(shuffled) if kind == "input" else _own(shuffled, role)
    rng = random.Random(f"{kind}/{seed}/{role}")
    labels = [make.LABELS[i % len(make.LABELS)] for i in range(SIZES[role])]
    rng.shuffle(labels)
    texts = [(maker.message(label, role != "train", rng), label) for label in labels]
    shown = {label: label if kind == "input" else _OTHER[label] for label in make.LABELS}
    return [{"id": f"{role}-{i:03}", "text": text, "label": shown[label]} for i, (text, label) in enumerate(texts)]


def _only_turning(frames: dict[str, Any]) -> None:
    """Keep those opinion frames that hold a word of the other side."""
    for label, other in (("positive", "{neg}"), ("negative", "{pos}")):
        frames[label] = {part: [frame for frame in found if other in frame] for part, found in frames[label].items()}


def _remapped(words: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return a few words of each label, half of them those that had the other label."""
    half = _KEPT // 2
    return {label: words[label][:half] + words[_OTHER[label]][half:_KEPT] for label in words}


def _own(words: dict[str, list[str]], role: str) -> dict[str, list[str]]:
    return {label: known[:_SEEN] if role == "train" else known[_SEEN:] for label, known in words.items()}
