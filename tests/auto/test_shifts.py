"""The benchmark's made shifts are what they say: seeded, no text twice, words that changed sides or meaning."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def shifts():
    path, place = sys.path[:], ROOT / "benchmarks" / "auto" / "shifts.py"
    spec = importlib.util.spec_from_file_location("auto_shifts", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = path


@pytest.mark.parametrize("kind", ["input", "output"])
def test_the_same_seed_gives_the_same_rows_and_no_text_comes_twice(shifts, kind):
    first = shifts.rows(kind, 1)
    assert first == shifts.rows(kind, 1) != shifts.rows(kind, 2)
    assert {role: len(own) for role, own in first.items()} == shifts.SIZES
    texts = [shifts.make.normal(row["text"]) for own in first.values() for row in own]
    assert len(set(texts)) == len(texts)


def opinions(shifts, rows):
    """The opinion words, by the label that English gives them, that occur in some rows."""
    words = shifts.yaml.safe_load((shifts.DATA / "words.yaml").read_text())["opinions"]
    used = {word.strip(".,").lower() for row in rows for word in row["text"].split()}
    return {label: used & set(words[label]) for label in words}


def plain(rows, label):
    """The last words of a label's texts in the plainest frame, `the THING was VERY WORD.`: it means what they mean."""
    frame = re.compile(r"the \w+ was (?:very|really|quite|so|absolutely|rather) (\w+)\.")
    found = [frame.search(row["text"].lower()) for row in rows if row["label"] == label]
    return {match.group(1) for match in found if match}


def denied(row):
    """The opinion word of `the THING was not WORD at all`."""
    return re.findall(r"the \w+ was not (\w+) at all\.", row["text"].lower())


def test_half_of_the_words_changed_sides_in_the_input_shift_and_every_frame_turns_them(shifts):
    rows = [row for own in shifts.rows("input", 3).values() for row in own]
    used = opinions(shifts, rows)
    assert {label: len(words) for label, words in used.items()} == {"positive": 4, "negative": 4}
    for label, other in (("positive", "negative"), ("negative", "positive")):
        turned = {word for row in rows if row["label"] == other for word in denied(row)}
        assert len(turned & used[other]) == 2 and len(turned & used[label]) == 2
        assert not plain(rows, label)


def test_labels_change_places_and_words_are_held_out_in_the_output_shift(shifts):
    own = shifts.rows("output", 3)
    used = {role: opinions(shifts, rows) for role, rows in own.items()}
    for label, other in (("positive", "negative"), ("negative", "positive")):
        assert len(used["train"][label]) == 6
        assert not used["train"][label] & (used["valid"][label] | used["test"][label])
        said = plain(own["train"], label)
        assert said & used["train"][other] and not said & used["train"][label]
