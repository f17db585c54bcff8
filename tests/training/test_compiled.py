"""`training.compile`: what is compiled computes the same, is compiled once for all layers and widths, and resumes."""

import shutil

import pytest
import torch
from torch._dynamo.utils import counters

from holdfast import models
from holdfast.selection import Selection
from holdfast.training import compiled, tune


@pytest.fixture(autouse=True)
def forgotten():
    """Nothing that another test compiled is used here, and the other way round."""
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def layers(setup, which: str) -> Selection:
    names = models.load(setup().start, setup().home).encoder_parameters()
    return Selection(whole=frozenset(n for n in names if n.startswith(f"bert.encoder.layer.{which}")))


def without_dropout(monkeypatch) -> None:
    load = tune.start_model

    def calm(*given):
        model = load(*given)
        for module in model.network.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        return model

    monkeypatch.setattr(tune, "start_model", calm)


def test_the_loss_curve_is_the_same(setup, started, monkeypatch) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    without_dropout(monkeypatch)
    made = setup(chosen=layers(setup, ""), start=started)
    plain = made.curve(made.run())
    assert not counters["stats"]
    fast = made.with_(compile=True)
    found = fast.curve(fast.run())
    assert counters["stats"]["unique_graphs"] <= 4, "one for the layers, one for the last, whatever the widths"
    assert sum(counters["graph_break"].values()) == 0
    for section in ("steps", "valid"):
        for a, b in zip(plain[section], found[section], strict=True):
            assert all(a[key] == pytest.approx(b[key], abs=1e-5) for key in a)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler here: g++")
def test_a_killed_run_comes_to_the_same_bytes(setup, started) -> None:
    """Compiled for the processor, above layers that run once, with dropout."""
    training = {"compile": True, "checkpoints_per_epoch": 2, "prefix_cache": "on"}
    made = setup(chosen=layers(setup, "1."), start=started, training=training)
    whole = made.run()

    def dies(done: int, total: int, figures: dict[str, float]) -> None:
        if done == 8:
            raise KeyboardInterrupt

    torch._dynamo.reset()
    with pytest.raises(KeyboardInterrupt):
        made.run(dies)
    torch._dynamo.reset()
    again = made.run()
    assert counters["stats"]["unique_graphs"] > 0
    assert (again.adapter, again.curve) == (whole.adapter, whole.curve)
