"""Checkpoints are whole or absent, verified, few, and hold no pickle."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from holdfast import parts
from holdfast.training import checkpoints

TENSORS = {"weights": {"w": torch.arange(6.0).reshape(2, 3)}, "random": {"cpu": torch.arange(5, dtype=torch.uint8)}}


def write(root: Path, step: int) -> checkpoints.Checkpoint:
    return checkpoints.write(root, step, TENSORS, {"state": {"step": step}})


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write(tmp_path, 3)
    found = checkpoints.newest(tmp_path)
    assert found is not None
    assert found.step == 3
    assert torch.equal(found.tensors("weights")["w"], TENSORS["weights"]["w"])
    assert found.document("state") == {"step": 3}


def test_the_newest_is_by_number_and_two_are_kept(tmp_path: Path) -> None:
    for step in (8, 9, 10):
        write(tmp_path, step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-9"]
    assert checkpoints.newest(tmp_path).step == 10


@pytest.mark.parametrize("damage", ["changed", "missing", "extra", "no manifest"])
def test_a_damaged_one_is_passed_over(tmp_path: Path, damage: str) -> None:
    write(tmp_path, 1)
    folder = write(tmp_path, 2).folder
    if damage == "changed":
        data = bytearray((folder / "weights.safetensors").read_bytes())
        data[-1] ^= 1
        (folder / "weights.safetensors").write_bytes(data)
    elif damage == "missing":
        (folder / "random.safetensors").unlink()
    elif damage == "extra":
        (folder / "more.json").write_text("{}")
    else:
        (folder / "manifest.json").unlink()
    assert checkpoints.newest(tmp_path).step == 1


def test_discarding_is_done_at_once(tmp_path: Path, monkeypatch) -> None:
    write(tmp_path / "tuning", 1)
    with monkeypatch.context() as patch:
        patch.setattr(parts.shutil, "rmtree", lambda *args, **kwargs: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            checkpoints.discard(tmp_path / "tuning")
    assert not (tmp_path / "tuning").exists(), "killed while files are removed, none of them is seen any more"
    parts.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []
    checkpoints.discard(tmp_path / "tuning")


def test_none_is_found_where_there_is_none(tmp_path: Path) -> None:
    assert checkpoints.newest(tmp_path / "absent") is None


def test_a_write_that_fails_leaves_the_old_ones_and_nothing_half_made(tmp_path: Path, monkeypatch) -> None:
    write(tmp_path, 1)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "_flush", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1"]
    write(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-1", "checkpoint-2"]


def test_a_real_checkpoint_holds_safetensors_and_json_only(setup, started) -> None:
    class Stop(Exception):
        pass

    def progress(done: int, total: int, figures: dict[str, float]) -> None:
        if done == 14:
            raise Stop

    tuning = setup(start=started, training={"patience": 5})
    with pytest.raises(Stop):
        tuning.run(progress)
    files = [path for path in tuning.home.checkpoints.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".safetensors", ".json"}
    for path in files:
        json.loads(path.read_text()) if path.suffix == ".json" else load_file(path)  # raises for anything else
    kept = sorted(path.name for path in (tuning.home.checkpoints / tuning.key()).iterdir())
    assert kept == ["checkpoint-12", "checkpoint-6"]
