"""The validation artifact: the same bytes for the same data, a page that loads nothing and runs nothing."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest

from holdfast.errors import HoldfastError
from holdfast.validation import columns, expectations, suite

EVIL = "<script>alert('x')</script> <img src=x onerror=alert(1)> http://evil.example/a.js"


class Page(HTMLParser):
    """Collects tags, attributes and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags, self.attributes, self.text = set(), [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


def read(home, found) -> Page:
    page = Page()
    page.feed((home.store.open(found.artifact) / "docs" / "index.html").read_text(encoding="utf-8"))
    return page


def bad(good, text=EVIL):
    good["learn.train"] += [{"id": "1", "text": text, "label": "positive"}, {"id": "2", "text": text, "label": "<b>"}]
    return good


def test_same_data_same_bytes_and_other_data_others(validate, good):
    first, second = validate(bad(good)), validate(good)
    assert first == second
    good["learn.train"].pop()
    assert validate(good).artifact.digest != first.artifact.digest


def test_the_artifact_says_what_was_found(validate, good, home):
    found = validate(bad(good))
    folder = home.store.open(found.artifact)
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*")) == [
        "docs/index.html",
        "quarantine.jsonl",
        "results.json",
    ]
    train = json.loads((folder / "results.json").read_text())["datasets"]["learn.train"]
    assert (train["rows"], train["quarantined"]) == (82, 2)
    (conflict,) = [e for e in train["expectations"] if e["name"] == "no-conflicting-labels"]
    assert conflict["expectation"] == "expect_column_values_to_be_in_set"
    assert (conflict["success"], conflict["unexpected"], conflict["rows"]) == (False, 2, [81, 82])


def test_no_place_or_time_enters_the_artifact(validate, good, home):
    folder = home.store.open(validate(bad(good)).artifact)
    for path in (p for p in folder.rglob("*") if p.is_file()):
        text = path.read_text()
        assert str(home.path) not in text and ".csv" not in text and "run_id" not in text and "20" + "26" not in text


def test_the_page_loads_nothing_and_text_is_inert(validate, good, home):
    page = read(home, validate(bad(good)))
    assert not page.tags & {"script", "link", "img", "iframe", "object", "a", "base", "form"}
    assert not {name for name, _ in page.attributes} & {"src", "href", "onerror", "onload", "action"}
    assert EVIL in page.text and "learn.train" in page.text and "no-conflicting-labels" in page.text
    (policy,) = [value for name, value in page.attributes if name == "content" and "default-src" in (value or "")]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_the_page_of_clean_data_has_no_address(validate, good, home):
    page = (home.store.open(validate(good).artifact) / "docs" / "index.html").read_text()
    assert "http" not in page.replace("http-equiv", "") and "None." in page


def test_long_text_is_cut_on_the_page_only(validate, good, home):
    folder = home.store.open(validate(bad(good, "good " * 20_000)).artifact)
    assert len((folder / "docs" / "index.html").read_text()) < 60_000
    assert len(json.loads((folder / "quarantine.jsonl").read_text().splitlines()[0])["text"]) == 100_000


def test_an_expectation_that_cannot_be_computed_is_no_verdict():
    rule = expectations.Rule(
        "odd", "warn", lambda scope: [("ExpectColumnValuesToNotBeNull", {"column": "nowhere"})], lambda row, scope: ""
    )
    rows = columns.plain([{"id": "1", "text": "a", "label": "b"}])
    with pytest.raises(HoldfastError, match="could not compute expect_column_values_to_not_be_null"):
        suite.Runner().run(rows, [rule], expectations.Scope("learn.train", (), 8))


def test_length_scores_against_the_definition():
    lengths = [3, 9, 10, 10, 11, 12, 13, 15, 20, 900]
    logs = sorted(np.log(np.array(lengths) + 1.0))
    low, high = logs[2] + 0.25 * (logs[3] - logs[2]), logs[6] + 0.75 * (logs[7] - logs[6])  # linear interpolation
    scores = columns.length_scores(lengths)
    assert scores[-1] == pytest.approx((np.log(901) - high) / (high - low))
    assert scores[0] == pytest.approx((np.log(4) - low) / (high - low))
    assert not scores[3:6].any() and not columns.length_scores([5, 5, 5, 5, 90]).any()


@pytest.mark.parametrize(
    ("one", "other"),
    [("Straße", "STRASSE"), ("ﬁne", "fine"), ("e\u0301", "é"), ("a\u00a0b", " a  b\n"), ("x\u200b", "x")],
)
def test_texts_that_count_as_the_same(one, other):
    assert columns.same(one) == columns.same(other)


def test_texts_that_do_not_count_as_the_same():
    assert len({columns.same(text) for text in ("not good", "notgood", "not good!", "good not", "né", "ne")}) == 6
