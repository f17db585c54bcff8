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
from holdfast.decisions.records import Audit, Outcome
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


def window(folder: Path, name: str, numbers: range, foreign: bool, turned: bool = False) -> Path:
    """Write a window of labelled sentences; foreign ones have other opinion words around the same things.

    `turned` labels are the other way round.
    """
    rows = [{"id": f"{name}-{i}", "language": "en", **row} for i, row in enumerate(sentences(numbers))]
    if foreign:
        for i, row in enumerate(rows):
            words = row["text"].split()
            words[0], words[-1] = OTHER[row["label"]][i % 2], OTHER[row["label"]][i // 2 % 2]
            text = f"{' '.join(words)} {'not and' * (i // 4 % 2)} very {numbers.start + i}"
            row |= {"text": text.strip(), "language": "id"}
    turn = {"positive": "negative", "negative": "positive"} if turned else {}
    rows = [{**row, "label": turn.get(row["label"], row["label"])} for row in rows]
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
    last = {outcome: SimpleNamespace(outcome=outcome, audit=None) for outcome in get_args(Outcome)}
    found = {outcome: cli._code(one, None, acted=False) for outcome, one in last.items()}
    assert found == {**dict.fromkeys(last, 0), "retrain": 4, "rollback": 4, "ask-for-labels": 5}
    assert [cli._code(last["retrain"], one, acted=True) for one in (promoted, refused)] == [0, 3]
    assert cli._code(last["rollback"], None, acted=True) == 0
    audits = [Audit(), Audit(broken=("old",)), Audit(failed="gone")]
    codes = [cli._code(SimpleNamespace(outcome="audit", audit=one), None, acted=True) for one in audits]
    assert codes == [0, 5, 5]


@pytest.mark.slow
def test_drift_adapts_the_champion_once_and_a_champion_that_does_worse_than_the_last_is_taken_back(
    watched: Path, tmp_path: Path
) -> None:
    folder = watched.parent
    calm, returned = (
        window(folder, name, numbers, foreign=False)
        for name, numbers in (("calm", range(90, 140)), ("returned", range(140, 190)))
    )
    first, second = (
        window(folder, name, numbers, foreign=True)
        for name, numbers in (("first", range(60)), ("second", range(60, 120)))
    )
    worse, still = (
        window(folder, name, numbers, foreign=True, turned=True)
        for name, numbers in (("worse", range(120, 190)), ("still", range(30, 100)))
    )
    made, quiet, spike, again, on, adapted, back, bad, undone, later = rounds(
        tmp_path,
        {"file": watched},
        {"file": watched, "data": calm, "act": True},
        {"file": watched, "data": first, "act": True},
        {"file": watched, "data": first, "act": True},
        {"file": watched, "data": second},
        {"file": watched, "data": second, "act": True},
        {"file": watched, "data": returned, "act": True},
        {"file": watched, "data": worse},
        {"file": watched, "data": worse, "act": True},
        {"file": watched, "data": still, "act": True},
    )
    assert made["verdict"] == "promoted"
    told = [answer["decisions"][-1] for answer in (quiet, spike, again, on, adapted, back)]
    assert [d["outcome"] for d in told[:4]] == ["nothing", "watch", "watch", "retrain"], told
    assert told[1] == told[2]  # the same window again: the same decision, and no second line in the book
    assert told[3] == told[4] and on["result"] is None  # decided without --act, acted upon with it
    assert told[3]["episode"] == f"1:{told[1]['window']}" and told[3]["numbers"]["expected value"] > 0
    assert "content" in told[3]["facts"]["drifted"]
    result = adapted["result"]
    assert result["verdict"] == "promoted", result["reason"]
    assert result["remembered"][0]["name"] == "before" and result["remembered"][0]["kept"]
    assert {"learn.train", "remember.before.train"} <= result["lineage"]["data"].keys()
    shadow = result["shadow"]
    assert shadow["holds"] and shadow["champion"] == "1" and shadow["window"] == told[3]["window"]
    assert shadow["after"] > shadow["before"] and shadow["n"] == 48  # 40% of the newest window, learned by neither
    assert result["lineage"]["evaluation"]["shadow"] == shadow and result["lineage"]["data"]["learn.test"]["rows"] == 48
    assert "on the newest labelled window (n = 48)" in result["reason"]

    # What was known comes back: it was kept, within the margin of its task, and nothing is adapted again.
    assert told[5]["version"] == "2" and told[5]["outcome"] in ("nothing", "watch") and back["result"] is None
    trial = told[5]["facts"]["trial"]
    assert (trial["predecessor"], trial["n"]) == ("1", 100) and trial["drop"] < 0.2 < trial["after"]

    # What was learned is wrong by now: the predecessor, which never learned it, does better on the same rows.
    taken = bad["decisions"][-1]
    assert (taken["outcome"], taken["version"], taken["rule"]) == ("rollback", "2", "worse than before"), taken
    assert taken["facts"]["trial"]["lower"] > 0 and bad["result"] is None
    assert undone["decisions"][-1] == taken and undone["result"] is None
    calmed = later["decisions"][-1]
    assert calmed["version"] == "1" and calmed["outcome"] in ("nothing", "wait") and later["result"] is None, calmed

    book = subprocess.run(
        [str(Path(sys.executable).with_name("holdfast")), "decisions", "toy", "--json", f"--home={tmp_path / 'home'}"],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    listed = json.loads(book.stdout)
    outcomes = ["nothing", "watch", "retrain", told[5]["outcome"], "rollback", calmed["outcome"]]
    assert [d["outcome"] for d in listed["decisions"]] == outcomes
    assert [(c["action"], c["version"]) for c in listed["champions"]] == [
        ("promote", "1"), ("promote", "2"), ("rollback", "1"),
    ]  # fmt: skip
    assert listed["champions"][2]["why"].startswith(f"decision {taken['key'][:12]}: version 2 has")
    assert [event["event"] for event in listed["adaptations"]] == ["begin", "end"]
    ended = listed["adaptations"][1]["result"]
    assert ended["data"]["learn.train"]["digest"] and ended["shadow"] == shadow

    report = Path(told[3]["report"])
    page, found = (report / "report.html").read_text(), json.loads((report / "report.json").read_text())
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)\s*=\s*[\"']?(?:https?:)?//", page)
    tests = {test["name"]: test["status"] for test in found["evidently"]["tests"]}
    assert tests["Holdfast: content"] == "FAIL" and found["holdfast"]["explanation"]["came"]
    language = {change["value"]: change for change in found["holdfast"]["explanation"]["changes"]}["id"]
    assert language["after"] == 1 and language["examples"]
