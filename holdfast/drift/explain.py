"""What changed: words that came and went, segments that grew or did worse, and the rows least like the reference."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast.records import Record

if TYPE_CHECKING:
    from holdfast.drift.sample import Sample

_WORDS, _CHANGES, _EXAMPLES = 10, 8, 5
_TEXT = 300
_FEWEST = 5
MOST_ROWS = 2000


class Word(Record):
    """A word and the share of texts that have it, before and after."""

    word: str
    before: float
    after: float


class Example(Record):
    """A row of the window; `strangeness` is the share of reference rows that look less like the window than it."""

    id: str
    text: str
    strangeness: float | None
    label: str | None
    prediction: str | None
    segments: dict[str, str]


class Change(Record):
    """A segment, before and after: its share of the rows and the accuracy on its labelled rows, None where unknown.

    The share before is unknown where the reference does not have the column. `strangeness` is the mean of its rows' (a
    half where nothing changed), `examples` are its strangest rows.
    """

    segment: str
    value: str
    before: float | None
    after: float
    accuracy_before: float | None
    accuracy_after: float | None
    strangeness: float | None
    examples: tuple[Example, ...]


class Explanation(Record):
    """What changed between the reference and a window."""

    came: tuple[Word, ...]
    went: tuple[Word, ...]
    changes: tuple[Change, ...]
    examples: tuple[Example, ...]


def explain(reference: Sample, window: Sample, strangeness: np.ndarray, seed: int) -> Explanation:
    """Return what changed; words are counted on at most `MOST_ROWS` rows of either side, drawn by `seed`."""
    came, went = _words(reference.at_most(MOST_ROWS, seed), window.at_most(MOST_ROWS, seed))
    changes = [
        _change(name, value, reference, window, strangeness)
        for name, column in window.segments.items()
        for value in sorted({str(v) for v in column if v is not None})
    ]
    told = sorted(changes, key=lambda change: -abs(change.after - (change.before or 0.0)))[:_CHANGES]
    everything = np.arange(len(window))
    return Explanation(
        came=came, went=went, changes=tuple(told), examples=_strangest(window, everything, strangeness, _EXAMPLES)
    )


def _words(reference: Sample, window: Sample) -> tuple[tuple[Word, ...], tuple[Word, ...]]:
    """Return the words that came and went, those first whose share of texts changed most for its standard error."""
    old, new = (Counter(word for text in side.texts for word in words(text)) for side in (reference, window))
    m, n = len(reference), len(window)
    scores: dict[str, float] = {}
    for word in old.keys() | new.keys():
        pooled = (old[word] + new[word]) / (m + n)
        if old[word] + new[word] >= _FEWEST and pooled < 1:
            deviation = np.sqrt(pooled * (1 - pooled) * (1 / m + 1 / n))
            scores[word] = float((new[word] / n - old[word] / m) / deviation)
    order = sorted(scores, key=lambda word: (-scores[word], word))
    told = {word: Word(word=word, before=round(old[word] / m, 4), after=round(new[word] / n, 4)) for word in scores}
    came = tuple(told[word] for word in order[:_WORDS] if scores[word] > 2)
    return came, tuple(told[word] for word in reversed(order[-_WORDS:]) if scores[word] < -2)


def words(text: str) -> set[str]:
    """Return the distinct words of a text, without case."""
    return set(re.findall(r"\w+", text.casefold()))


def _change(name: str, value: str, reference: Sample, window: Sample, strangeness: np.ndarray) -> Change:
    before, after = (np.flatnonzero(side.segments[name] == value) for side in (reference, window))
    own = strangeness[after]
    known = any(known is not None for known in reference.segments[name])
    return Change(
        segment=name,
        value=value,
        before=round(len(before) / len(reference), 4) if known else None,
        after=round(len(after) / max(len(window), 1), 4),
        accuracy_before=_accuracy(reference, before),
        accuracy_after=_accuracy(window, after),
        strangeness=None if np.isnan(own).all() else round(float(np.nanmean(own)), 4),
        examples=_strangest(window, after, strangeness, 3),
    )


def _accuracy(sample: Sample, rows: np.ndarray) -> float | None:
    from holdfast.drift import performance

    right = performance.right(sample, rows)
    return round(float(right.mean()), 4) if len(right) >= _FEWEST else None


def _strangest(window: Sample, rows: np.ndarray, strangeness: np.ndarray, most: int) -> tuple[Example, ...]:
    order = rows[np.argsort(-np.nan_to_num(strangeness[rows], nan=-1.0), kind="stable")]
    return tuple(_example(window, int(i), strangeness[i]) for i in order[:most])


def _example(window: Sample, i: int, strangeness: Any) -> Example:
    return Example(
        id=str(window.ids[i]),
        text=str(window.texts[i])[:_TEXT],
        strangeness=None if np.isnan(strangeness) else round(float(strangeness), 4),
        label=window.labels[i],
        prediction=window.predictions[i],
        segments={name: column[i] for name, column in window.segments.items() if column[i] is not None},
    )
