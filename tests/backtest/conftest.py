"""A pipeline file with a dated stream beside it, and steps made by hand."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from holdfast import home as homes
from holdfast import spec
from holdfast.backtest.steps import Step
from holdfast.home import Home
from holdfast.spec import Pipeline


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home."""
    return homes.make(tmp_path / "home")


@pytest.fixture
def dated(tmp_path: Path) -> Callable[..., str]:
    """Write rows as a CSV stream and return its path."""

    def write(rows: list[dict[str, str]]) -> str:
        path = tmp_path / "stream.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return str(path)

    return write


@pytest.fixture
def pipeline(tmp_path: Path) -> Callable[..., Pipeline]:
    """Return a pipeline whose section `monitor` has the given parts."""

    def make(overrides: list[str] | None = None, **monitor: object) -> Pipeline:
        raw = {"name": "toy", "start": {"model": "base"}, "learn": {"train": "train.csv"}, "monitor": monitor}
        file = tmp_path / "toy.yaml"
        file.write_text(yaml.safe_dump(raw))
        return spec.load(file, overrides or [])

    return make


@pytest.fixture
def step() -> Callable[..., Step]:
    """Return a step with the given fields and harmless others."""

    def make(policy: str, number: int, right: int, rows: int = 10, **given: object) -> Step:
        known = {
            "policy": policy, "number": number, "until": f"2020-01-{number:02}T00:00:00.000+00:00", "rows": rows,
            "right": right, "version": "1", "drifted": (), "outcome": "nothing", "rule": "no drift", "reason": "calm",
            "retrained": None, "why": None, "rolled_back": None, "champion": "1", "champion_digest": "first",
            "seconds": 2.0,
        }  # fmt: skip
        return Step.model_validate({**known, **given})

    return make
