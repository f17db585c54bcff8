"""The parsers of the registered formats, on a few lines each."""

import json
from datetime import UTC, datetime

import pytest

from holdfast.versioning import parsers


def test_a_tab_separated_file_without_header_keeps_its_quotes(tmp_path):
    (tmp_path / "x").write_text('say "hi\tpositive\nline\x85one\tneutral\n')
    rows = parsers.parse("tsv", [tmp_path / "x"], columns=["text", "label"])
    assert rows == [{"text": 'say "hi', "label": "positive"}, {"text": "line\x85one", "label": "neutral"}]
    with pytest.raises(ValueError):
        parsers.parse("tsv", [tmp_path / "x"], columns=["text"])


def test_clinc_filters_a_domain_and_keeps_ids(tmp_path):
    data, domains = tmp_path / "data", tmp_path / "domains"
    data.write_text(json.dumps({"val": [["pay it", "bill"], ["boil it", "cook"], ["what", "oos"]]}))
    domains.write_text(json.dumps({"bank": ["bill"], "home": ["cook"]}))
    rows = parsers.parse("clinc", [data, domains], part="val", domain="home")
    assert rows == [{"id": "2", "text": "boil it", "label": "cook", "domain": "home"}]
    assert [row["domain"] for row in parsers.parse("clinc", [data, domains], part="val")] == ["bank", "home", "oos"]


def test_goemotions_keeps_single_labels_or_the_first(tmp_path):
    (tmp_path / "x").write_text("a\t1\tc1\nb\t0,2\tc2\n")
    (tmp_path / "labels").write_text("joy\nlove\nneutral\n")
    paths = [tmp_path / "x", tmp_path / "labels"]
    assert parsers.parse("goemotions", paths, labels="single") == [
        {"id": "c1", "text": "a", "label": "love", "emotions": "love"}
    ]
    assert parsers.parse("goemotions", paths, labels="first")[1] == {
        "id": "c2", "text": "b", "label": "joy", "emotions": "joy,neutral"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (r"Chapel Hill\u002c I\u2019m", "Chapel Hill, I’m"),
        (r"smile \ud83d\ude00 half \ud83d", "smile 😀 half �"),
        ('"I said ""no"" twice"', 'I said "no" twice'),
        (r'"Why is \""""Happy\"""" trending?"', 'Why is "Happy" trending?'),
        ('"Get them," he said, "now"', '"Get them," he said, "now"'),
        ('"cut at its first line', '"cut at its first line'),
        (r"Iron Maiden \m/ \o/", r"Iron Maiden \m/ \o/"),
        ('"', '"'),
        ("", ""),
    ],
)
def test_a_tweet_is_unquoted_and_unescaped(raw, text):
    assert parsers.tweet_text(raw) == text


def test_a_tweets_time_is_in_its_id():
    milliseconds = (264183816548130816 >> 22) + 1288834974657
    expected = datetime.fromtimestamp(milliseconds // 1000, UTC).replace(microsecond=milliseconds % 1000 * 1000)
    assert parsers.tweet_time(264183816548130816) == expected.isoformat(timespec="milliseconds")
    assert parsers.tweet_time(264183816548130816).startswith("2012-11-02T01:55:")
