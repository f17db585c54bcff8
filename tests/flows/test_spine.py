"""The whole way, on the tiny encoder: what is reused, what is refused, and that nothing is left outside the home."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.security.pickles import pickled_files

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow

KEYS = {"pipeline", "verdict", "reason", "version", "run_id", "target", "remembered", "selection", "stages", "lineage"}
STAGES = ["prepare", "validate", "assess", "select", "tune", "evaluate", "register", "gate"]


def _cached(result: dict[str, Any]) -> set[str]:
    return {stage["name"] for stage in result["stages"] if stage["cached"]}


def _edit(file: Path, **changes: Any) -> Path:
    spec = yaml.safe_load(file.read_text())
    copy = file.with_name(f"{changes['name']}.yaml")
    copy.write_text(yaml.safe_dump({**spec, **changes}))
    return copy


def _remembering(file: Path, name: str, **changes: Any) -> Path:
    """Return a file that starts from the champion of `toy`, remembers it, and learns the labels turned round."""
    for part in ("train", "valid", "test"):
        rows = file.with_name(f"{part}.csv").read_text()
        swapped = rows.replace("positive", "X").replace("negative", "positive").replace("X", "negative")
        file.with_name(f"swapped-{part}.csv").write_text(_in_other_words(swapped))
    learn = {part: f"swapped-{part}.csv" for part in ("train", "valid", "test")}
    remember = [{"name": "old", "train": "train.csv", "valid": "valid.csv", "test": "test.csv", "margin": 0.05}]
    start = {"model": "models:/toy@champion", "made_by": "toy.yaml"}
    return _edit(file, name=name, start=start, learn=learn, remember=remember, **changes)


def _in_other_words(text: str) -> str:
    return text.replace("food", "enak").replace("movie", "jelek").replace("service", "bagus")


def test_one_file_in_one_judged_version_out_from_a_third_folder(command: Callable, toy: Path, tmp_path: Path) -> None:
    before = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True).stdout
    project = sorted(path.name for path in toy.parent.iterdir())
    code, result, stderr = command("run", str(toy))
    assert code == 0, stderr
    assert set(result) >= KEYS
    assert [stage["name"] for stage in result["stages"]] == STAGES
    assert result["verdict"] == "promoted" and result["target"]["gain"] > 0
    assert set(result["lineage"]) == {"start", "data", "method", "code", "evaluation"}
    assert Path(result["report"]).is_file()

    assert subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True).stdout == before
    assert sorted(path.name for path in toy.parent.iterdir()) == project
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "project", "third-folder"]
    assert not list((tmp_path / "third-folder").iterdir())
    assert pickled_files(tmp_path / "home") == []

    code, listed, _ = command("versions", "toy")
    assert code == 0 and len(listed["versions"]) == 1
    code, shown, _ = command("show", "toy@champion")
    assert (
        code == 0
        and shown["lineage"]["data"]["learn.train"]["digest"] == result["lineage"]["data"]["learn.train"]["digest"]
    )
    code, told, _ = command("predict", "toy@champion", str(toy.with_name("test.csv")), str(tmp_path / "out.jsonl"))
    assert code == 0 and told["rows"] == 80


# With nothing to do, Prefect is not asked, so that no server has to be started.
_NO_FLOW = "from prefect import Flow; call, Flow.__call__ = Flow.__call__, None"


def test_what_is_reused_and_what_runs_again(several: Callable, toy: Path) -> None:
    rows = toy.with_name("train.csv")
    changed = f"p = Path({str(rows)!r}); p.write_text(p.read_text().replace('movie', 'enak', 1))"
    first, second, gated, edited = several(
        {"file": toy},
        {"file": toy, "before": _NO_FLOW},
        {"file": toy, "set": ["gate.target_gain=0.99"]},
        {"file": toy, "before": f"{changed}; Flow.__call__ = call"},
    )
    reused = {"validate", "assess", "select", "tune", "evaluate"}
    assert not _cached(first) & reused
    assert _cached(second) >= reused
    assert (second["version"], second["verdict"]) == (first["version"], "promoted")
    assert _cached(gated) >= reused and gated["verdict"] == "refused" and "0.99" in gated["reason"]
    assert "tune" not in _cached(edited)


def test_an_edited_module_reruns_exactly_the_stages_that_use_it(several: Callable, toy: Path, tmp_path: Path) -> None:
    code = tmp_path / "code"
    for package in ("holdfast", "tasks", "flows", "data", "mlflow"):
        shutil.copytree(ROOT / package, code / package, ignore=shutil.ignore_patterns("__pycache__", "made"))
    several({"file": toy}, code=code)
    with (code / "holdfast" / "forgetting" / "cka.py").open("a") as module:
        module.write("\n# an edit\n")
    (again,) = several({"file": toy}, code=code)
    assert {"assess", "select", "tune"} <= _cached(again)
    assert "evaluate" not in _cached(again)


def test_no_op_worse_than_champion_and_forgetful_versions_are_refused(several: Callable, toy: Path) -> None:
    nothing = _edit(
        toy, name="nothing", start={"model": "models:/toy@champion"}, training={"learning_rate": 1e-12, "epochs": 1}
    )
    training = {"epochs": 6, "learning_rate": 5e-3}
    forgetful = _remembering(toy, "forgetful", parameters="full", training=training, control={"enabled": False})
    worse = ["training.epochs=0.2", "training.learning_rate=0.00001"]
    promoted, worse_one, no_op, forgot = several(
        {"file": toy}, {"file": toy, "set": worse}, {"file": nothing}, {"file": forgetful}
    )
    assert promoted["verdict"] == "promoted"
    assert worse_one["verdict"] == "refused" and "champion" in worse_one["reason"]
    assert no_op["verdict"] == "refused" and "gain" in no_op["reason"]
    assert forgot["verdict"] == "refused" and "old" in forgot["reason"]
    assert not forgot["remembered"][0]["kept"]
    assert forgot["version"], "a refused version is registered all the same"


def test_a_damaged_artifact_is_made_again(several: Callable, toy: Path, tmp_path: Path) -> None:
    damage = (
        "import glob; [open(f, 'ab').write(b'x') for f in "
        f"glob.glob({str(tmp_path / 'home')!r} + '/artifacts/*/*/adapter_model.safetensors')]"
    )
    first, again = several({"file": toy}, {"file": toy, "before": damage})
    assert "tune" not in _cached(again)
    assert again["lineage"]["method"] == first["lineage"]["method"]
    assert again["version"] == first["version"], "the same bytes were made again, so it is the same version"


def test_bad_input_is_told_and_exits_with_2(command: Callable, toy: Path) -> None:
    code, answer, stderr = command("run", str(toy), "--set", "training.epoch=3")
    assert code == 2 and "epoch" in answer["error"] and "Did you mean `epochs`?" in stderr
    code, answer, _ = command("run", str(toy), "--set", "learn.train=missing.csv")
    assert code == 2 and "missing.csv" in answer["error"]
    assert "Traceback" not in stderr
