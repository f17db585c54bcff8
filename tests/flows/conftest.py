"""Runs of the real command and of several flows in one process, each in a home of its own."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., tuple[int, dict[str, Any], str]]

_DRIVER = """
import json, sys
from pathlib import Path
from flows.cli import common
home = common.enter(Path(sys.argv[1]))
from flows import chain
from holdfast.errors import HoldfastError
for line in sys.stdin:
    job = json.loads(line)
    exec(job.get("before", ""))
    try:
        print(chain.run(Path(job["file"]), job.get("set", []), home).model_dump_json(), file=sys.__stdout__, flush=True)
    except HoldfastError as error:
        print(json.dumps({"error": str(error)}), file=sys.__stdout__, flush=True)
"""


@pytest.fixture
def command(tmp_path: Path) -> Run:
    """Call `holdfast ARGS --home HOME --json` in a third folder; return (exit code, the JSON object, stderr)."""
    place = tmp_path / "third-folder"
    place.mkdir()

    def call(*args: str, cwd: Path = place, home: Path = tmp_path / "home") -> tuple[int, dict[str, Any], str]:
        line = [str(Path(sys.executable).with_name("holdfast")), *args, "--home", str(home), "--json"]
        done = subprocess.run(line, cwd=cwd, capture_output=True, text=True, timeout=600)
        try:
            return done.returncode, json.loads(done.stdout), done.stderr
        except ValueError as error:
            raise AssertionError(f"{line}: stdout is not one JSON object:\n{done.stdout}\n{done.stderr}") from error

    return call


@pytest.fixture
def toy(tmp_path: Path, tiny_base: Path) -> Path:
    """A pipeline file in a folder outside the checkout that learns a toy sentiment task on the tiny encoder."""
    return project(tmp_path, tiny_base)


def drive(place: Path, *jobs: dict[str, Any], code: Path = ROOT) -> list[dict[str, Any]]:
    """Run jobs ({file, set, before}) in the home `home` of a folder, in one process: Prefect's server starts once."""
    text = "".join(json.dumps(job, default=str) + "\n" for job in jobs)
    line = [sys.executable, "-c", _DRIVER, str(place / "home")]
    environment = {**os.environ, "PYTHONPATH": str(code)}
    done = subprocess.run(line, input=text, cwd=place, capture_output=True, text=True, timeout=900, env=environment)
    found = [json.loads(answer) for answer in done.stdout.splitlines()]
    assert len(found) == len(jobs), done.stdout + done.stderr
    return found


def project(place: Path, base: Path) -> Path:
    """Write the toy sentiment task into the folder `project` of a folder; return its pipeline file."""
    folder = place / "project"
    folder.mkdir()
    write_rows(folder / "train.csv", sentences(range(0, 40)))
    write_rows(folder / "valid.csv", sentences(range(40, 50)))
    write_rows(folder / "test.csv", sentences(range(50, 90)))
    spec = {
        "name": "toy",
        "start": {"model": str(base)},
        "learn": {"train": "train.csv", "valid": "valid.csv", "test": "test.csv"},
        "assess": {"examples": 16},
        "training": {"epochs": 8, "learning_rate": 3e-3, "precision": "fp32"},
    }
    (folder / "toy.yaml").write_text(yaml.safe_dump(spec))
    return folder / "toy.yaml"


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    """Write rows as CSV."""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def sentences(numbers: range) -> list[dict[str, str]]:
    """Return two labelled sentences per number below 192, all distinct: two cues of one kind around a thing."""
    cues = {"positive": ["good", "fine", "great", "nice"], "negative": ["bad", "awful", "poor", "nasty"]}
    things, fillers = ["movie", "food", "service"], ["very", "and", "the", "a"]
    rows = []
    for number in numbers:
        mixed = number * 37 % 192  # so that any range holds every cue
        filler, rest = fillers[mixed % 4], mixed // 4
        thing, rest = things[rest % 3], rest // 3
        for label, words in cues.items():
            rows.append({"text": f"{words[rest % 4]} {thing} was {filler} {words[rest // 4]}", "label": label})
    return rows
