"""Pretraining the bundled decoder: killed and started again it ends with the same weights, and what it writes loads."""

import json
from pathlib import Path

import pytest
import torch

from holdfast.generation import decoders, encoding

ROOT = Path(__file__).resolve().parents[2]
TINY = {"width": 16, "layers": 1, "heads": 2, "batch": 6, "groups": 2, "steps": 4, "log": 1, "save": 2, "test": 6}
SMALL = [f"--{name}={value}" for name, value in {**TINY, "minutes": 1000}.items()]


@pytest.fixture
def pretrain(monkeypatch):
    """The script `data/pretrain.py`; what it is scored on is made small."""
    monkeypatch.syspath_prepend(str(ROOT / "data"))
    import pretrain

    monkeypatch.setattr(pretrain, "TASKS", ())
    return pretrain


@pytest.mark.slow
def test_started_again_it_ends_with_the_same_weights(pretrain, tmp_path, monkeypatch):
    pretrain.main([*SMALL, "--out", str(tmp_path / "whole")])
    real = pretrain.take_step

    def killed(state, *given):
        if state.step == 3:
            raise KeyboardInterrupt
        return real(state, *given)

    monkeypatch.setattr(pretrain, "take_step", killed)
    with pytest.raises(KeyboardInterrupt):
        pretrain.main([*SMALL, "--out", str(tmp_path / "parts")])
    monkeypatch.setattr(pretrain, "take_step", real)
    pretrain.main([*SMALL, "--out", str(tmp_path / "parts")])
    whole, parts = (tmp_path / name for name in ("whole", "parts"))
    assert (whole / "model.safetensors").read_bytes() == (parts / "model.safetensors").read_bytes()
    found = json.loads((parts / "metrics.json").read_text())
    assert found["steps"] == 4 and [step for step, _ in found["losses"]] == [1, 2, 3, 4]
    assert found["losses"] == json.loads((whole / "metrics.json").read_text())["losses"]
    assert sum(task["n"] for task in found["scores"]["draws"].values()) <= 6
    written = decoders.network(parts)
    assert sum(p.numel() for p in written.parameters()) == found["weights"]
    assert (parts / "tokenizer.json").read_bytes() == (ROOT / "data" / "base_model" / "tokenizer.json").read_bytes()


def test_the_default_is_a_small_decoder(pretrain):
    net = pretrain.network(pretrain.read_arguments([]), pretrain.tokenizer())
    assert 2_000_000 < sum(p.numel() for p in net.parameters()) < 4_000_000


def test_the_loss_is_the_answers_mean_and_falls(pretrain, tmp_path):
    arguments = pretrain.read_arguments([*SMALL, "--steps", "60", "--rate", "1e-2", "--out", str(tmp_path)])
    words = pretrain.tokenizer()
    net, encoder = pretrain.network(arguments, words), encoding.Encoder(words)
    state = pretrain.State(net, torch.optim.AdamW(net.parameters()))
    groups = pretrain.batch(encoder, 0, arguments)
    rows = [one for group in groups for one in group]
    assert len(rows) == 6 and len(groups) == 2
    wanted, tokens = 0.0, 0
    for one in rows:
        with torch.inference_mode():
            chances = net(input_ids=torch.tensor([one.input_ids])).logits[0].log_softmax(-1)
        wanted -= sum(float(chances[i - 1, t]) for i, t in enumerate(one.labels) if t != encoding.IGNORED)
        tokens += one.scored
    losses = [pretrain.take_step(state, encoder, arguments) for _ in range(60)]
    assert losses[0] == pytest.approx(wanted / tokens, rel=1e-2)
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
