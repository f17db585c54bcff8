"""Two processes on the processor, joined by gloo, make the update of one process with twice the batch."""

import dataclasses

import pytest
import torch

from holdfast.errors import BadInput, Fenced, HoldfastError
from holdfast.registry import fencing
from holdfast.training import launch, processes


@pytest.fixture
def still(tiny_start, tmp_path_factory):
    """The tiny start model without dropout, which is drawn apart in every process."""
    import json
    import shutil
    from pathlib import Path

    folder = tmp_path_factory.mktemp("still") / "base"
    shutil.copytree(Path(tiny_start.base.name), folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    base = tiny_start.base.model_copy(update={"name": str(folder)})
    return tiny_start.model_copy(update={"model": str(folder), "base": base})


@pytest.mark.slow
def test_two_processes_are_one_with_twice_the_batch(setup, still, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ".")
    alone = setup(start=still, training={"batch": 14, "epochs": 2})  # 40 rows: batches of 14, 14 and 12
    whole = alone.run()
    together = alone.with_(batch=7, processes=2)
    parted = together.run()
    assert parted.steps == whole.steps == 6
    found, wanted = together.adapter(parted), alone.adapter(whole)
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-6, msg=lambda text, n=name: f"{n}: {text}")
    losses = [step["loss"] for step in together.curve(parted)["steps"]]
    assert losses == pytest.approx([step["loss"] for step in alone.curve(whole)["steps"]], abs=1e-5)
    assert not any(together.home.checkpoints.iterdir())


@pytest.mark.slow
def test_what_goes_wrong_in_one_process_is_told(setup, still, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ".")
    with pytest.raises(HoldfastError, match="diverged"):
        setup(start=still, training={"batch": 7, "processes": 2, "learning_rate": 1e12, "clip": 1e12}).run()


@pytest.mark.slow
def test_processes_of_a_run_whose_place_was_taken_write_no_checkpoint(setup, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ".")
    made = setup(training={"batch": 20, "processes": 2, "epochs": 1})
    made = dataclasses.replace(made, home=fencing.under(made.home, "toy", 1))
    with pytest.raises(Fenced, match="token 1, which the book does not know"):
        made.run()
    assert not list(made.home.checkpoints.glob("*/checkpoint-*"))


def test_more_processes_than_devices_are_refused(setup, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    one = setup(training={"processes": 2})
    with pytest.raises(BadInput, match=r"training\.processes"):
        launch.tune(one.selected, one.assessed, one.validated, one.start, one.recipe, (), one.home, None)


def test_parts_are_dealt_out_and_one_process_takes_them_all(monkeypatch):
    assert processes.own([1, 2, 3]) == [1, 2, 3] and processes.count() == 1
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert processes.own([1, 2, 3]) == [2] and processes.own([1]) == []
