"""A dataset as a table with helper columns: what Great Expectations has no word for, made visible row by row."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
INVISIBLE = "\u00ad\u200b\u200e\u200f\u2060\ufeff"  # soft hyphen, zero-width space, direction marks, joiner, BOM
ENDLESS = 50_000  # characters; a longer text is most often a lost quotation mark that swallowed the rows below it
RARE = 0.2  # a label is rare below this part of an even share
TEXT_AND_LABEL = ("text", "label")
PROMPT_AND_ANSWER = ("prompt", "answer")
GOOD_AND_BAD = ("good", "bad")
_GONE = dict.fromkeys(map(ord, INVISIBLE))


def same(text: str) -> str:
    """Return what texts that count as one text share: NFKC, case folded, invisible marks and extra blanks gone."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.translate(_GONE).split())


def plain(rows: Sequence[Row], names: tuple[str, str] = TEXT_AND_LABEL) -> pd.DataFrame:
    """Return the columns `id` and `names`, as far as rows have them; the index counts rows from 1."""
    import pandas as pd

    found = [name for name in ("id", *names) if any(name in row for row in rows)]
    columns = {name: pd.Series([row.get(name) for row in rows], dtype=object) for name in found}
    return pd.DataFrame(columns).set_axis(range(1, len(rows) + 1), axis="index")


def add(
    table: pd.DataFrame,
    tests: Mapping[str, str],
    labels: Sequence[str],
    tokens: Callable,
    names: tuple[str, str] = TEXT_AND_LABEL,
) -> pd.DataFrame:
    """Return `table` with the helper columns of this module; `tokens` counts what a model would read of each row.

    `tests` says where each text of a test set stands (see `places`); `labels` are those that rows may have. `names`
    are the columns of the text and the label, or of the prompt and the answer, or of the good and the bad text, which
    have no labels: the second of them then takes the label's place, and counts into the length. Columns of complaints
    hold an empty string where there is nothing to complain about.
    """
    texts, given = ([one if isinstance(one, str) else "" for one in table[name]] for name in names)
    labels_given = [str(label) for label in table[names[1]]]
    keys = [same(text) for text in texts]
    generates = names in (PROMPT_AND_ANSWER, GOOD_AND_BAD)
    lengths = [len(text) + (len(answer) if generates else 0) for text, answer in zip(texts, given, strict=True)]
    short = [text[:ENDLESS] for text in texts]
    return table.assign(
        repeats=_repeats(keys, labels_given),
        contradicts=_contradicts(keys, labels_given),
        leaks_into=[tests.get(key, "") for key in keys],
        rare_label=_rare(labels_given, labels),
        nearly=_nearly(labels_given),
        alike=["the other" if one == other else "" for one, other in zip(texts, given, strict=True)],
        id_again=_again([str(one) for one in table["id"]]),
        characters=lengths,
        tokens=tokens(short, [answer[:ENDLESS] for answer in given]) if generates else tokens(short),
        length_score=length_scores(lengths),
    )


def places(datasets: Iterable[tuple[str, Sequence[Row]]], name: str = "text") -> dict[str, str]:
    """Return {text, as `same` gives it: where it stands first} of the test sets among `datasets` (key, rows).

    `name` is the column that counts: the text, or the prompt.
    """
    found: dict[str, str] = {}
    for key, rows in datasets:
        if not key.endswith(".test"):
            continue
        for number, row in enumerate(rows, 1):
            if isinstance(row.get(name), str):
                found.setdefault(same(row[name]), f"{key}, row {number}")
    return found


def unanswerable(rows: Iterable[Row]) -> list[str]:
    """Return why each question cannot be asked by its `choices`: one is empty or repeated, or none is the `answer`."""
    return [_unanswerable(row.get("answer"), row.get("choices") or []) for row in rows]


def _unanswerable(answer: Any, choices: Sequence[str]) -> str:
    if not all(map(same, choices)):
        return "one of its choices is empty"
    repeated = next((choice for choice, times in Counter(choices).items() if times > 1), None)
    if repeated is not None:
        return f"the choice `{repeated}` is there twice"
    return "" if answer in choices else f"the answer `{answer}` is none of its choices"


def length_scores(lengths: Sequence[int]) -> np.ndarray:
    """Return how far each length lies outside the middle half, in interquartile ranges of log(1 + length).

    Negative below the lower quartile, positive above the upper one, 0 between them or where the range is zero. Beyond
    3 lie Tukey's outer fences (Exploratory Data Analysis, 1977, 2D); the logarithm is ours (inferred), because the
    lengths of texts are skewed.
    """
    if not len(lengths):
        return np.zeros(0)
    logs = np.log1p(np.asarray(lengths, dtype=float))
    low, high = np.quantile(logs, (0.25, 0.75))
    beyond = np.minimum(logs - low, 0) + np.maximum(logs - high, 0)
    return beyond / (high - low) if high > low else np.zeros(len(logs))


def _repeats(keys: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Return, for each row, the earlier row with the same text and label."""
    return _again(list(zip(keys, labels, strict=True)))


def _again(values: Sequence[Any]) -> list[str]:
    """Return, for each row, the earlier row with the same value."""
    first: dict[Any, int] = {}
    found = []
    for number, value in enumerate(values, 1):
        earlier = first.setdefault(value, number)
        found.append("" if earlier == number else f"row {earlier}")
    return found


def _nearly(given: Sequence[str]) -> list[str]:
    """Return, for each row, the label given more often that its own differs from only in case or white space."""
    counts = Counter(given)
    usual: dict[str, str] = {}
    for label, _ in counts.most_common():  # of equally frequent ones, the first
        usual.setdefault(same(label), label)
    return [usual[same(label)] if usual[same(label)] != label else "" for label in given]


def _contradicts(keys: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Return, for each row, the first row that gives the same text another label."""
    rows: dict[str, dict[str, int]] = defaultdict(dict)
    for number, (key, label) in enumerate(zip(keys, labels, strict=True), 1):
        rows[key].setdefault(label, number)
    others = [
        next(((other, row) for other, row in rows[key].items() if other != label), None)
        for key, label in zip(keys, labels, strict=True)
    ]
    return [f"`{other[0]}` in row {other[1]}" if other else "" for other in others]


def _rare(given: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Return each row's label where that label is rare: below `RARE` of an even share of the rows."""
    counts = Counter(given)
    least = RARE * len(given) / max(1, len(labels))
    return [label if counts[label] < least else "" for label in given]
