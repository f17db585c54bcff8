"""The command line without a run: help stays light, errors are one line, init writes a file that can be read."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.cli import common
from flows.cli.show import lines
from holdfast import home as homes
from holdfast import spec
from holdfast.errors import BadInput
from tests.flows.conftest import sentences, write_rows

HEAVY = ("torch", "prefect", "mlflow", "dvc", "transformers", "pandas", "great_expectations")


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from flows.cli.app import app; print([m for m in sys.argv[1:] if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code, *HEAVY], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("reference", "wanted"),
    [
        ("toy@champion", ("toy", "champion")),
        ("toy/3", ("toy", "3")),
        ("models:/toy@x", ("toy", "x")),
        ("toy", ("toy", "champion")),
    ],
)
def test_version_references(reference: str, wanted: tuple[str, str]) -> None:
    assert common.version_of(reference) == wanted


def test_an_empty_version_reference_is_refused() -> None:
    with pytest.raises(BadInput, match="NAME@champion"):
        common.version_of("")


def test_nested_values_become_indented_lines() -> None:
    assert lines({"a": 1, "b": {"c": [1, 2]}}) == ["a: 1", "b:", "  c:", "    - 1", "    - 2"]


def test_init_writes_six_lines_that_can_be_read(tmp_path: Path) -> None:
    data = tmp_path / "my reviews.csv"
    rows = [{"Review": row["text"], "sentiment": row["label"]} for row in sentences(range(4))]
    write_rows(data, rows)
    code, answer, stderr = _init(data, tmp_path)
    assert code == 0, stderr
    written = tmp_path / answer["file"]
    assert len(written.read_text().splitlines()) == 6
    pipeline = spec.load(written)
    assert (pipeline.learn.text, pipeline.learn.label) == ("Review", "sentiment")
    assert Path(pipeline.learn.train) == data
    assert _init(data, tmp_path)[0] == 2, "an existing file is never overwritten"


def _init(data: Path, cwd: Path) -> tuple[int, dict, str]:
    line = [str(Path(sys.executable).with_name("holdfast")), "init", str(data), "--json"]
    done = subprocess.run(line, cwd=cwd, capture_output=True, text=True)
    return done.returncode, json.loads(done.stdout), done.stderr


def test_reset_removes_a_home_and_nothing_else(command: Callable, tmp_path: Path) -> None:
    other = tmp_path / "precious"
    other.mkdir()
    (other / "file").write_text("x")
    code, answer, _ = command("reset", "--yes", home=other)
    assert code == 2 and "no Holdfast home" in answer["error"] and (other / "file").exists()

    assert command("data", "list")[0] == 0
    assert (tmp_path / "home").is_dir()
    unit = tmp_path / "home" / "comparison" / "units" / "a.json"
    unit.parent.mkdir(parents=True)
    unit.write_text("{}")
    assert command("reset", "--comparisons")[1]["records"] == 1 and unit.exists()
    assert command("reset", "--comparisons", "--yes")[1]["records"] == 1 and not unit.exists()
    assert command("reset")[1]["removed"] is False and (tmp_path / "home").is_dir()
    assert command("reset", "--yes")[1]["removed"] is True
    assert not (tmp_path / "home").exists() and (other / "file").exists()


def test_reset_leaves_the_homes_that_lie_in_this_one(command: Callable, tmp_path: Path) -> None:
    outer = homes.make(tmp_path / "home")
    inner, backtest = homes.make(outer.path / "demos" / "one"), homes.make(outer.path / "backtests" / "replayed")
    (outer.path / "demos" / "notes").write_text("of the outer one")
    (outer.path / "linked").symlink_to(inner.path)
    (inner.path / "ledger.db").write_text("of the inner one")

    told = {"home": str(outer.path), "left": [str(inner.path)]}
    assert command("reset")[1] == told | {"removed": False} and homes.is_home(backtest.path)
    assert command("reset", "--yes")[1] == told | {"removed": True}
    assert [path.name for path in outer.path.iterdir()] == ["demos"] and not homes.is_home(outer.path)
    assert [path.name for path in inner.path.parent.iterdir()] == ["one"]
    assert (inner.path / "ledger.db").read_text() == "of the inner one"
    assert homes.make(outer.path) == outer, "it can be made again around the other"
