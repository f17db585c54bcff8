"""Rounds of watching without a server: no drift, a spike, drift that goes on, an adaptation; all told in the book."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
import yaml

from flows.cli import monitor as cli
from holdfast.decisions.records import Outcome
from tests.flows.conftest import ROOT, sentences, write_rows

_DRIVER = """
import json, sys
from pathlib import Path
from flows.cli import common
home = common.enter(Path(sys.argv[1]))
from flows import chain, monitor
from holdfast.errors import HoldfastError
for line in sys.stdin:
    job = json.loads(line)
    file = Path(job.pop("file"))
    try:
        if not job:
            print(chain.run(file, [], home).model_dump_json(), file=sys.__stdout__, flush=True)
            continue
        data = Path(job["data"]) if "data" in job else None
        decisions, result = monitor.once(file, [], home, data, job.get("why"), job.get("act", False))
        told = {"decisions": [d.model_dump(mode="json") for d in decisions]}
        told["result"] = result.model_dump(mode="json") if result else None
        print(json.dumps(told), file=sys.__stdout__, flush=True)
    except HoldfastError as error:
        print(json.dumps({"error": str(error)}), file=sys.__stdout__, flush=True)
"""
OTHER = {"positive": ["bagus", "enak"], "negative": ["buruk", "jelek"]}


def rounds(tmp_path: Path, *jobs: dict) -> list[dict]:
    text = "".join(json.dumps(job, default=str) + "\n" for job in jobs)
    line = [sys.executable, "-c", _DRIVER, str(tmp_path / "home")]
    done = subprocess.run(
        line, input=text, cwd=tmp_path, capture_output=True, text=True, timeout=900,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    found = [json.loads(answer) for answer in done.stdout.splitlines()]
    assert len(found) == len(jobs), done.stdout + done.stderr
    return found


def window(folder: Path, name: str, numbers: range, foreign: bool) -> Path:
    """Write a window of labelled sentences; foreign ones have other opinion words around the same things."""
    rows = [{"id": f"{name}-{i}", "language": "en", **row} for i, row in enumerate(sentences(numbers))]
    if foreign:
        for i, row in enumerate(rows):
            words = row["text"].split()
            words[0], words[-1] = OTHER[row["label"]][i % 2], OTHER[row["label"]][i // 2 % 2]
            row |= {"text": f"{' '.join(words)} {'not and' * (i // 4 % 2)} very {i}".strip(), "language": "id"}
    write_rows(folder / f"{name}.csv", rows)
    return folder / f"{name}.csv"


@pytest.fixture
def watched(toy: Path) -> Path:
    raw = yaml.safe_load(toy.read_text())
    raw["monitor"] = {
        "checks": {"estimate": False},
        "retrain": {"labelled": 100, "cooldown": "1d", "margin": 0.2},
        "value": {"per_point_per_day": 40, "cost_per_run": 4},
    }
    raw["gate"] = {"champion_margin": 0.2}
    toy.write_text(yaml.safe_dump(raw))
    return toy


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("monitor", "none.yaml"), "none.yaml: no such pipeline file"),
        (("monitor", "{toy}"), "`toy` has no champion to watch. `holdfast run FILE` makes one."),
        (("label", "toy", "{toy}"), "there is no prediction log of `toy`"),
    ],
)
def test_what_cannot_be_watched_is_told_before_anything_starts(command, toy, line, said) -> None:
    code, answer, _ = command(*(part.format(toy=toy) for part in line))
    assert (code, answer["kind"]) == (2, "BadInput") and said in answer["error"]


def test_exit_codes() -> None:
    promoted, refused = SimpleNamespace(verdict="promoted"), SimpleNamespace(verdict="refused")
    outcomes = get_args(Outcome)
    found = {outcome: cli._code(outcome, None) for outcome in outcomes}
    assert found == {**dict.fromkeys(outcomes, 0), "retrain": 4, "ask-for-labels": 5, "audit": 5}
    assert (cli._code("retrain", promoted), cli._code("retrain", refused)) == (0, 3)


@pytest.mark.slow
def test_drift_that_goes_on_adapts_the_champion_once(watched: Path, tmp_path: Path) -> None:
    folder = watched.parent
    calm = window(folder, "calm", range(90, 140), foreign=False)
    first, second, third = (
        window(folder, name, numbers, foreign=True)
        for name, numbers in (("first", range(60)), ("second", range(60, 120)), ("third", range(120, 180)))
    )
    made, quiet, spike, again, on, adapted, after = rounds(
        tmp_path,
        {"file": watched},
        {"file": watched, "data": calm, "act": True},
        {"file": watched, "data": first, "act": True},
        {"file": watched, "data": first, "act": True},
        {"file": watched, "data": second},
        {"file": watched, "data": second, "act": True},
        {"file": watched, "data": third, "act": True},
    )
    assert made["verdict"] == "promoted"
    told = [answer["decisions"][-1] for answer in (quiet, spike, again, on, adapted, after)]
    assert [d["outcome"] for d in told[:4]] == ["nothing", "watch", "watch", "retrain"], told
    assert told[1] == told[2]  # the same window again: the same decision, and no second line in the book
    assert told[3] == told[4] and on["result"] is None  # decided without --act, acted upon with it
    assert told[3]["episode"] == f"1:{told[1]['window']}" and told[3]["numbers"]["expected value"] > 0
    assert "content" in told[3]["facts"]["drifted"]
    result = adapted["result"]
    assert result["verdict"] == "promoted", result["reason"]
    assert result["remembered"][0]["name"] == "before" and result["remembered"][0]["kept"]
    assert {"learn.train", "remember.before.train"} <= result["lineage"]["data"].keys()
    assert told[5]["version"] == "2" and told[5]["outcome"] in ("nothing", "watch") and after["result"] is None

    book = subprocess.run(
        [str(Path(sys.executable).with_name("holdfast")), "decisions", "toy", "--json", f"--home={tmp_path / 'home'}"],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    listed = json.loads(book.stdout)
    assert [d["outcome"] for d in listed["decisions"]] == ["nothing", "watch", "retrain", told[5]["outcome"]]
    assert [event["event"] for event in listed["adaptations"]] == ["begin", "end"]
    assert listed["adaptations"][1]["result"]["data"]["learn.train"]["digest"]

    report = Path(told[3]["report"])
    page, found = (report / "report.html").read_text(), json.loads((report / "report.json").read_text())
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)\s*=\s*[\"']?(?:https?:)?//", page)
    tests = {test["name"]: test["status"] for test in found["evidently"]["tests"]}
    assert tests["Holdfast: content"] == "FAIL" and found["holdfast"]["explanation"]["came"]
    language = {change["value"]: change for change in found["holdfast"]["explanation"]["changes"]}["id"]
    assert language["after"] == 1 and language["examples"]
