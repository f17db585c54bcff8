"""A killed tuning continues to the same bytes, however it was killed and whatever the method."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from holdfast import choices, models, selection, spec
from holdfast import home as homes
from holdfast.errors import HoldfastError
from holdfast.selection import Selection
from holdfast.training import checkpoints

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
OLD = spec.Remember(name="old", train="a.csv", valid="a.csv", test="a.csv", head="mood")


class Killed(Exception):
    pass


def killer(step: int):
    """A progress callback that raises after update `step`, before that update's checkpoint is written."""

    def progress(done: int, total: int, figures: dict[str, float]) -> None:
        if done == step:
            raise Killed

    return progress


def part_of_a_layer(setup) -> Selection:
    model = models.load(setup().start, setup().home)
    generator = torch.Generator().manual_seed(5)
    names = [n for n in model.encoder_parameters() if "layer.1" in n and n.endswith("weight")]
    shapes = {n: model.encoder_parameters()[n].shape for n in names}
    return Selection(partial={n: torch.rand(shape, generator=generator) < 0.3 for n, shape in shapes.items()})


def lora(setup) -> Selection:
    targets = [f"encoder.layer.{i}.attention.self.query" for i in (0, 1)]
    return Selection(added={"r": 2, "lora_alpha": 4, "lora_dropout": 0.1, "target_modules": targets}, seed=2)


def chosen(raw):
    """Return what makes the selection of a choice, for a setup."""

    def make(setup) -> Selection:
        tuning = setup()
        model = models.load_with_head(tuning.start, tuning.home, "mood", ("negative", "positive"), 3)
        return selection._united(model, None, choices.parse("parameters", raw, "parameters"))

    return make


METHODS = {
    "plain": {},
    "masked": {"chosen": part_of_a_layer},
    "lora": {"chosen": lora},
    "pissa": {"chosen": chosen({"lora": {"kind": "pissa", "r": 2}})},
    "houlsby": {"chosen": chosen({"houlsby": 2}), "schedule": ["plain", "wise"]},
    "prefix": {"chosen": chosen({"prefix": 2})},
    "ulmfit": {"schedule": ["discriminative", "slanted", "unfreezing"]},
    "anchored": {"remember": (OLD,), "anchors": [{"l2sp": 0.5}, {"ewc": 0.5}, {"lwf": 1.0}, {"kl": {"batch": 3}}]},
    "replay": {"remember": (OLD,), "examples": {"replay": 0.2}},
    "psft": {"objective": {"psft": {"refresh": 4, "warm_up": 3}}},
    "psft from the start": {"objective": {"psft": "never"}},
    "target": {"objective": "target", "remember": (OLD,), "examples": {"replay": 0.2}},
    "domain text": {"examples": {"domain-text": {"weight": 0.3, "batch": 3}}},
    "pseudo-labels": {"examples": {"pseudo-labels": {"threshold": 0.51, "batch": 3, "refresh": 4}}},
    "importance-scaled": {"remember": (OLD,), "schedule": ["importance-scaled", "warmup", "unfreezing"]},
    "importance-scaled in part": {"remember": (OLD,), "chosen": part_of_a_layer, "schedule": "importance-scaled"},
    "patience": {"training": {"patience": 2, "learning_rate": 3e-2}},
}


@pytest.mark.parametrize("method", list(METHODS))
def test_resumed_in_mid_epoch_to_the_same_bytes(method: str, setup, started) -> None:
    raw = dict(METHODS[method])
    if "chosen" in raw:
        raw["chosen"] = raw["chosen"](setup)
    raw["training"] = {"checkpoints_per_epoch": 4, **raw.get("training", {})}
    tuning = setup(start=started, **raw)
    whole = tuning.run()
    root = tuning.home.checkpoints / tuning.key()
    with pytest.raises(Killed):
        tuning.run(killer(11))
    last = checkpoints.newest(root)
    steps = 8 if "replay" in METHODS[method].get("examples", ()) else 6
    assert last is not None
    assert last.step % steps, "the checkpoint was meant to lie inside an epoch"
    assert tuning.run() == whole
    assert not root.exists()


def test_resumed_twice_and_at_the_end_of_an_epoch(setup, started) -> None:
    tuning = setup(start=started)
    whole = tuning.run()
    for step in (7, 15):
        with pytest.raises(Killed):
            tuning.run(killer(step))
    assert checkpoints.newest(tuning.home.checkpoints / tuning.key()).step == 12
    assert tuning.run() == whole


def test_killed_after_its_last_step_it_only_writes(setup, started, monkeypatch) -> None:
    from holdfast import adapters

    tuning = setup(start=started, training={"epochs": 1.5})
    whole = tuning.run()
    assert whole.steps == 9
    with monkeypatch.context() as patch:
        patch.setattr(adapters, "write", lambda *args: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            tuning.run()
    steps: list[int] = []
    assert tuning.run(lambda done, total, figures: steps.append(done)) == whole
    assert steps == []


def test_a_stopped_tuning_is_not_trained_further(setup, started, monkeypatch) -> None:
    from holdfast import adapters

    tuning = setup(start=started, training={"epochs": 20, "patience": 1, "learning_rate": 0.1})
    whole = tuning.run()
    assert whole.steps < 120
    with monkeypatch.context() as patch:
        patch.setattr(adapters, "write", lambda *args: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            tuning.run()
    assert tuning.run() == whole


_SCRIPT = """
import json, os, signal, sys
from pathlib import Path
from holdfast import home, records, spec
from holdfast.training import tune

def progress(done, total, figures):
    if done == 11:
        os.kill(os.getpid(), signal.SIGKILL)

given = json.loads(Path(sys.argv[1]).read_text())
parts = [getattr(records, name)(**given[name]) for name in ("Selected", "Assessed", "Validated", "Start")]
tune.tune(*parts, spec.Recipe(**given["Recipe"]), (), home.Home(Path(given["home"])), progress)
"""


def test_a_process_killed_by_the_system_is_continued_by_another(setup, started, tmp_path) -> None:
    tuning = setup(start=started, training={"checkpoints_per_epoch": 2})
    whole = tuning.run()
    other = homes.make(tmp_path / "other")
    for artifact in (tuning.selected, tuning.assessed, started.adapter, *tuning.validated.datasets.values()):
        found = getattr(artifact, "artifact", artifact)
        place = other.store.path(found)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(tuning.home.store.path(found), place, dirs_exist_ok=True)
    parts = (tuning.selected, tuning.assessed, tuning.validated, tuning.start, tuning.recipe)
    given = {type(part).__name__: part.model_dump(mode="json") for part in parts} | {"home": str(other.path)}
    (tmp_path / "given.json").write_text(json.dumps(given))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-c", _SCRIPT, str(tmp_path / "given.json")]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert checkpoints.newest(other.checkpoints / tuning.key()).step == 9
    resumed = type(tuning)(**{**vars(tuning), "home": other}).run()
    assert resumed == whole


def interrupted(setup, started):
    tuning = setup(start=started)
    with pytest.raises(Killed):
        tuning.run(killer(14))
    return tuning


def test_another_thread_count_is_refused(setup, started) -> None:
    tuning = interrupted(setup, started)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        with pytest.raises(HoldfastError, match=f"made with threads {threads}.*OMP_NUM_THREADS={threads}.*remove"):
            tuning.run()
    finally:
        torch.set_num_threads(threads)
    assert tuning.run().steps == 18


def test_another_instruction_set_is_refused(setup, started, monkeypatch) -> None:
    tuning = interrupted(setup, started)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX9")
    with pytest.raises(HoldfastError, match=r"made with instructions .*here 'AVX9'.*remove .* to start over"):
        tuning.run()


def test_a_checkpoint_of_other_anchors_is_refused(setup, started) -> None:
    tuning = interrupted(setup, started)
    last = checkpoints.newest(tuning.home.checkpoints / tuning.key())
    documents = {path.stem: json.loads(path.read_text()) for path in last.folder.glob("*.json")}
    documents.pop("manifest")
    tensors = {path.stem: last.tensors(path.stem) for path in last.folder.glob("*.safetensors")}
    checkpoints.write(last.folder.parent, last.step + 1, tensors, {**documents, "anchors": "0" * 64})
    with pytest.raises(HoldfastError, match="belongs to another tuning"):
        tuning.run()


def test_damaged_checkpoints_are_passed_over(setup, started) -> None:
    tuning = setup(start=started)
    whole = tuning.run()
    with pytest.raises(Killed):
        tuning.run(killer(14))
    root = tuning.home.checkpoints / tuning.key()
    (root / "checkpoint-12" / "weights.safetensors").write_bytes(b"half")
    assert checkpoints.newest(root).step == 6
    assert tuning.run() == whole
