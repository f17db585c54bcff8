"""The whole way, on the tiny encoder: what is reused, what is refused, and that nothing is left outside the home."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.flows.conftest import drive, project
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
_FLOW = "Flow.__call__ = call"


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> dict[str, Any]:
    """What became of a file that is run again and again in one home and process, with this and that changed."""
    place = tmp_path_factory.mktemp("story")
    toy = project(place, tiny_base)
    rows, kept = f"Path({str(toy.with_name('train.csv'))!r})", toy.with_name("train.csv").read_text()
    edited = f"p = {rows}; p.write_text(p.read_text().replace('movie', 'enak', 1))"
    damage = (
        "import glob; [open(f, 'ab').write(b'x') for f in "
        f"glob.glob({str(place / 'home')!r} + '/artifacts/*/*/adapter_model.safetensors')]"
    )
    nothing = _edit(
        toy, name="nothing", start={"model": "models:/toy@champion"}, training={"learning_rate": 1e-12, "epochs": 1}
    )
    training = {"epochs": 6, "learning_rate": 5e-3}
    forgetful = _remembering(toy, "forgetful", parameters="full", training=training, control={"enabled": False})
    worse = ["training.epochs=0.2", "training.learning_rate=0.00001"]
    jobs = {
        "first": {"file": toy},
        "second": {"file": toy, "before": _NO_FLOW},
        "gated": {"file": toy, "set": ["gate.target_gain=0.99"]},
        "damaged": {"file": toy, "before": f"{_FLOW}; {damage}"},
        "worse": {"file": toy, "set": worse},
        "nothing": {"file": nothing},
        "forgetful": {"file": forgetful},
        "edited": {"file": toy, "before": edited},
        "as it was": {"file": toy, "before": f"{rows}.write_text({kept!r})"},
    }
    return {"place": place, "file": toy, **dict(zip(jobs, drive(place, *jobs.values()), strict=True))}


def test_what_is_reused_and_what_runs_again(story: dict[str, Any]) -> None:
    first, second, gated = story["first"], story["second"], story["gated"]
    reused = {"validate", "assess", "select", "tune", "evaluate"}
    assert not _cached(first) & reused
    assert _cached(second) >= reused
    assert (second["version"], second["verdict"]) == (first["version"], "promoted")
    assert _cached(gated) >= reused and gated["verdict"] == "refused" and "0.99" in gated["reason"]
    assert "tune" not in _cached(story["edited"])
    assert "tune" in _cached(story["as it was"])


def test_a_damaged_artifact_is_made_again(story: dict[str, Any]) -> None:
    first, again = story["first"], story["damaged"]
    assert "tune" not in _cached(again)
    assert again["lineage"]["method"] == first["lineage"]["method"]
    assert again["version"] == first["version"], "the same bytes were made again, so it is the same version"


def test_no_op_worse_than_champion_and_forgetful_versions_are_refused(story: dict[str, Any]) -> None:
    worse, no_op, forgot = story["worse"], story["nothing"], story["forgetful"]
    assert story["first"]["verdict"] == "promoted"
    assert worse["verdict"] == "refused" and "champion" in worse["reason"]
    assert no_op["verdict"] == "refused" and "gain" in no_op["reason"]
    assert forgot["verdict"] == "refused" and "old" in forgot["reason"]
    assert not forgot["remembered"][0]["kept"]
    assert forgot["version"], "a refused version is registered all the same"


def test_an_edited_module_reruns_exactly_the_stages_that_use_it(story: dict[str, Any], tmp_path: Path) -> None:
    code = tmp_path / "code"
    for package in ("holdfast", "tasks", "flows", "data", "mlflow"):
        shutil.copytree(ROOT / package, code / package, ignore=shutil.ignore_patterns("__pycache__", "made"))
    with (code / "holdfast" / "forgetting" / "cka.py").open("a") as module:
        module.write("\n# an edit\n")
    (again,) = drive(story["place"], {"file": story["file"]}, code=code)
    assert {"validate", "assess", "select", "tune"} <= _cached(again)
    assert "evaluate" not in _cached(again)


def test_bad_input_is_told_before_anything_starts_and_exits_with_2(
    command: Callable, toy: Path, tmp_path: Path
) -> None:
    code, answer, stderr = command("run", str(toy), "--set", "training.epoch=3")
    assert code == 2 and "epoch" in answer["error"] and "Did you mean `epochs`?" in stderr
    second = _remembering(toy, "second")  # toy, which it starts from, is not made first
    code, answer, stderr = command("run", str(second), "--set", "learn.valid=missing.csv")
    assert code == 2 and "missing.csv: no such file" in answer["error"]
    assert "Traceback" not in stderr and not (tmp_path / "home" / "prefect" / "prefect.db").exists()
