"""Whose words were learned is told in the report, the terminal and MLflow alike."""

import json

import pytest

from holdfast import report
from holdfast.registry import runs
from holdfast.reports import words

from .conftest import png, put

pytestmark = pytest.mark.pictures

LOG = {
    "arm": "s3ft",
    "rows": 10,
    "shares": {"self": 0.5, "paraphrase": 0.3, "gold": 0.2, "dropped": 0.0},
    "refused": {"self": {"judged wrong": 4, "unfinished": 1}, "paraphrase": {"leaks the prompt": 2}},
    "targets": {"nll": 0.25, "tokens": 9.5, "by_source": {"self": {"nll": 0.125, "tokens": 8.0}}},
    "gold": {"nll": 1.5, "tokens": 12.0},
}


def test_the_report_says_shares_likelihoods_lengths_and_what_was_refused(parts, records, home, tmp_path):
    said = json.dumps({"steps": [], "valid": [], "targets": LOG}).encode()
    curve = put(home, "curve", {"curve.png": png(home, "c.png"), "curve.json": said})
    tuned = parts.tuned.model_copy(update={"curve": curve})
    page = report.write(tmp_path / "report", parts.result, **{**records, "tuned": tuned})
    text = page.with_suffix(".md").read_text()
    assert "| all | 100.0% | 0.250 | 9.5 |" in text
    assert "| self | 50.0% | 0.125 | 8.0 |" in text
    assert "| gold, same rows | - | 1.500 | 12.0 |" in text
    assert "self: judged wrong 4, unfinished 1; paraphrase: leaks the prompt 2" in text


def test_the_terminal_says_it_in_a_line(parts):
    result = parts.result.model_copy(update={"learned": words.own_words(LOG)})
    (line,) = [line for line in report.summary_lines(result) if line.startswith("learned:")]
    assert "s3ft: self 50.0%, paraphrase 30.0%, gold 20.0%" in line and "0.250 (gold 1.500)" in line
    assert not any(line.startswith("learned:") for line in report.summary_lines(parts.result))


def test_mlflow_gets_every_number_under_a_name_it_allows():
    found = runs.own_words(LOG)
    assert found["targets.shares.paraphrase"] == 0.3 and found["targets.targets.by_source.self.tokens"] == 8.0
    assert found["targets.refused.paraphrase.leaks the prompt"] == 2 and found["targets.gold.nll"] == 1.5
    assert "targets.arm" not in found and runs.own_words({}) == {}
