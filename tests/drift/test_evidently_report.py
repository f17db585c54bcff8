"""The report of a window: offline, inert, with our verdicts; and Evidently's seed does not reach ours."""

import json
import random
import re

import numpy as np
import pandas as pd
import pytest

from holdfast.drift import checks, explain

HOSTILE = "</script><script>alert(1)</script><img src=http://evil.example/x.png> very bad"


def state():
    return np.random.get_state()[1].tolist(), random.getstate()


@pytest.mark.slow
def test_the_report_is_offline_inert_and_says_what_our_checks_say(world, worlds, tmp_path, monkeypatch):
    from holdfast.drift import evidently_report

    monkeypatch.setattr(explain, "MOST_ROWS", 150)
    window = worlds.mixed(world, "foreign", 0.3, np.random.default_rng(9), rows=200)
    window.texts[0] = HOSTILE
    found = checks.run(world.reference, window, worlds.MONITOR)
    found.strangeness[0] = 2  # so that the hostile row is an example
    told = explain.explain(world.reference, window, found.strangeness, seed=1)
    before = state()
    written = evidently_report.write(world.reference, window, found.findings, told, tmp_path)
    assert state() == before
    page = (tmp_path / "report.html").read_text()
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)\s*=\s*[\"']?(?:https?:)?//", page)
    assert "alert(1)" in page and "<script>alert(1)" not in page and "<img src=http" not in page
    assert "150 of 200 against 150 of 2,000" in page  # a sample is said to be one
    assert json.loads((tmp_path / "report.json").read_text()) == written
    status = {test["name"]: test["status"] for test in written["evidently"]["tests"]}
    drifted = {f.check: f.drifted for f in found.findings if not f.skipped}
    assert {
        f"Holdfast: {name}": "FAIL" if was else "SUCCESS" for name, was in drifted.items()
    }.items() <= status.items()
    assert written["holdfast"]["explanation"]["examples"][0]["text"] == HOSTILE  # JSON keeps it as it was
    assert any(name.startswith("Value Drift for column characters") for name in status)


@pytest.mark.slow
def test_evidentlys_text_detector_sets_the_global_seed_and_the_guard_undoes_it():
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    from holdfast.drift.evidently_report import undisturbed

    texts = [pd.DataFrame({"text": [f"{word} {i % 7} words" for i in range(40)]}) for word in ("old", "new")]
    kinds = DataDefinition(text_columns=["text"])
    sides = [Dataset.from_pandas(frame, data_definition=kinds) for frame in texts]

    def detect():
        Report([ValueDrift(column="text", method="perc_text_content_drift")]).run(sides[1], sides[0])

    np.random.seed(123)
    before = state()
    with undisturbed():
        detect()
    assert state() == before
    detect()
    assert state() != before  # so the guard is needed
