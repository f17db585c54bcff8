"""The command `backtest`: what it refuses, and that a killed one comes to what an undisturbed one comes to."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.flows.conftest import ROOT, sentences, write_rows

OTHER = {"positive": ["bagus", "enak"], "negative": ["buruk", "jelek"]}


@pytest.fixture
def dated(toy: Path) -> tuple[Path, Path]:
    """A pipeline file that watches windows of 50 rows, and three days: one calm, two with other opinion words."""
    raw = yaml.safe_load(toy.read_text())
    raw["monitor"] = {
        "window": {"rows": 50},
        "alarm": {"at_least": 1, "out_of": 1},
        "checks": {"estimate": False},
        "retrain": {"labelled": 40, "windows": 2, "cooldown": "3d", "margin": 0.2},
    }
    raw["gate"], raw["training"]["epochs"] = {"champion_margin": 0.5}, 6
    toy.write_text(yaml.safe_dump(raw))
    rows = []
    for day, (numbers, foreign) in enumerate([(range(90, 115), False), (range(0, 25), True), (range(25, 50), True)]):
        for i, row in enumerate(sentences(numbers)):
            words = row["text"].split()
            if foreign:
                words[0], words[-1] = OTHER[row["label"]][i % 2], OTHER[row["label"]][i // 2 % 2]
                words += ["very", str(day), str(i)]
            moment = f"2020-01-{day + 1:02}T{i // 60:02}:{i % 60:02}:00Z"
            rows.append({"time": moment, "text": " ".join(words), "label": row["label"]})
    write_rows(toy.parent / "stream.csv", rows)
    return toy, toy.parent / "stream.csv"


def line(file: Path, stream: Path, home: Path) -> list[str]:
    own = str(Path(sys.executable).with_name("holdfast"))
    return [
        own,
        "backtest",
        str(file),
        "--stream",
        str(stream),
        "--policies=never,holdfast",
        f"--home={home}",
        "--json",
    ]


def plain(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document without what the clock and the place decide."""
    policies = [
        {**one, "seconds": 0, "windows": [{**window, "seconds": 0} for window in one["windows"]]}
        for one in document["policies"]
    ]
    return {**document, "policies": policies, "home": "", "out": ""}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--stream={stream}", "--policies=never,daily"), "key `--policies`: unknown policy `daily`"),
        (("--stream={stream}", "--every=soon"), "key `--every`: cannot read the span of time 'soon'"),
        (("--stream={stream}", "--from=2021-01-01"), "no row is from 2021-01-01 on"),
        (("--stream=nowhere.csv",), "nowhere.csv"),
    ],
)
def test_what_cannot_be_replayed_is_told_before_anything_is_tuned(command, dated, more, said) -> None:
    file, stream = dated
    code, answer, _ = command("backtest", str(file), *(part.format(stream=stream) for part in more))
    assert (code, answer["kind"]) == (2, "BadInput") and said in answer["error"]


@pytest.mark.slow
def test_a_killed_backtest_goes_on_from_the_last_window_and_comes_to_the_same(dated, tmp_path: Path) -> None:
    file, stream = dated
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    homes = tmp_path / "killed", tmp_path / "whole"
    _kill_when(
        f"{homes[0]}/backtests/*/backtest/holdfast/answered-0002.json", line(file, stream, homes[0]), environment
    )
    found = []
    for home in homes:
        done = subprocess.run(line(file, stream, home), capture_output=True, text=True, env=environment, timeout=900)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
        said = done.stderr.count(" 1/3 2020-01-01")
        assert said == (0 if home == homes[0] else 2), "the first windows are not done again"
    assert plain(found[0]) == plain(found[1])

    never, holdfast = found[1]["policies"]
    outcomes = [window["outcome"] for window in holdfast["windows"]]
    assert outcomes[:2] == ["nothing", "retrain"] and (never["retrains"], holdfast["retrains"]) == (0, 1)
    assert holdfast["windows"][1]["until"].startswith("2020-01-02") and holdfast["windows"][1]["drifted"]
    retrained = holdfast["windows"][1]
    assert retrained["retrained"] in ("promoted", "refused") and retrained["why"]
    assert retrained["champion"] == ("2" if retrained["retrained"] == "promoted" else "1")
    folder = Path(found[1]["out"])
    assert json.loads((folder / "backtest.json").read_text())["windows"] == 3
    assert (folder / "timeline.png").stat().st_size > 10_000 and "| holdfast |" in (folder / "backtest.md").read_text()


def _kill_when(pattern: str, command: list[str], environment: dict[str, str]) -> None:
    """Start a command and kill it, and its session, as soon as a file is there and a moment has passed."""
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, start_new_session=True
    ) as running:  # fmt: skip
        until = time.monotonic() + 600
        while not list(Path("/").glob(pattern.lstrip("/"))):
            assert running.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        time.sleep(1.0)
        os.killpg(running.pid, signal.SIGKILL)
