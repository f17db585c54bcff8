"""Pretraining the bundled decoder: killed and started again it ends with the same weights, and what it writes loads."""

import json
from pathlib import Path

import pytest
import torch

from holdfast.generation import decoders, encoding

ROOT = Path(__file__).resolve().parents[2]
TINY = {"width": 16, "layers": 1, "heads": 2, "batch": 6, "compile": 0, "steps": 4, "log": 1, "save": 2, "test": 6}
SMALL = [f"--{name}={value}" for name, value in TINY.items()]


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
    assert 500_000 < sum(p.numel() for p in net.parameters()) < 4_000_000


def test_a_step_holds_its_rows_in_few_shapes_and_learns_no_padding(pretrain):
    arguments, encoder = pretrain.read_arguments([]), encoding.Encoder(pretrain.tokenizer())
    shapes = set()
    for step in range(20):
        groups = pretrain.batch(encoder, step, arguments)
        for group in groups:
            assert len(group) % 4 == 0 and len({len(one.input_ids) for one in group}) == 1
            shapes.add((len(group), len(group[0].input_ids)))
        wanted = [pretrain.exercise(n, arguments.seed) for n in range(step * 128, (step + 1) * 128)]
        learned = [one for group in groups for one in group if one.scored]
        texts = {tuple(i for i in one.labels if i != encoding.IGNORED) for one in learned}
        assert len(learned) == 128 and texts == {
            tuple(i for i in encoder.pair(row["prompt"], row["answer"]).labels if i != encoding.IGNORED)
            for row in wanted
        }
    assert len(shapes) < 60  # of some hundred groups


@pytest.mark.slow
def test_the_loss_is_the_answers_mean_and_falls(pretrain, tmp_path):
    arguments = pretrain.read_arguments([*SMALL, "--steps", "60", "--rate", "1e-2", "--out", str(tmp_path)])
    words = pretrain.tokenizer()
    net, encoder = pretrain.network(arguments, words), encoding.Encoder(words)
    state = pretrain.State(net, torch.optim.AdamW(net.parameters()))
    groups = pretrain.batch(encoder, 0, arguments)
    rows = [one for group in groups for one in group]
    assert sum(one.scored > 0 for one in rows) == 6
    wanted, tokens = 0.0, 0
    for one in rows:
        with torch.inference_mode():
            chances = net(input_ids=torch.tensor([one.input_ids])).logits[0].log_softmax(-1)
        wanted -= sum(float(chances[i - 1, t]) for i, t in enumerate(one.labels) if t != encoding.IGNORED)
        tokens += one.scored
    losses = [pretrain.take_step(state, encoder, arguments) for _ in range(60)]
    assert losses[0] == pytest.approx(wanted / tokens, rel=1e-2)
    assert sum(losses[-10:]) < 0.95 * sum(losses[:10])
