"""Frozen weights in 4 bits: an eighth of the memory, nearly the same outputs, and only what moves is written."""

import pytest
import torch

from holdfast import models
from holdfast.selection import Selection

pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
from holdfast.training import quantized

QUERY = "encoder.layer.1.attention.self.query"
LORA = {"r": 2, "lora_alpha": 4, "lora_dropout": 0.0, "target_modules": [QUERY]}


def test_weights_take_an_eighth_and_say_nearly_the_same(home, tiny_start) -> None:
    model = models.load(tiny_start, home)
    network = model.network.eval()
    inputs = {"input_ids": torch.arange(5, 25).view(2, 10), "attention_mask": torch.ones(2, 10, dtype=torch.int64)}
    moving = list(network.get_submodule("bert.encoder.layer.1").parameters())
    with torch.no_grad():
        before = network.base_model(**inputs).last_hidden_state
        count = quantized.quantize(model, moving, "fp32")
        after = network.base_model(**inputs).last_hidden_state
    small = [module for module in network.modules() if isinstance(module, quantized.Linear4bit)]
    assert sum(m.weight.numel() * m.weight.element_size() for m in small) == count / 2
    assert count == sum(m.in_features * m.out_features for m in small)
    assert not any(isinstance(m, quantized.Linear4bit) for m in network.bert.encoder.layer[1].modules())
    error = (after - before).norm() / before.norm()
    assert 0 < error < 0.2, "layer norms follow, so this is what the rounding does"


@pytest.mark.parametrize("chosen", [Selection(added=LORA, seed=2), None], ids=["lora", "the lower layer"])
def test_what_moves_learns_and_alone_is_written(chosen, setup, started) -> None:
    made = [setup(chosen=chosen, start=started, training={"frozen_weights": kind})
            for kind in ("whole", "4bit", "4bit")]  # fmt: skip
    tuned = [one.run() for one in made]
    whole, small, again = (one.curve(found)["steps"] for one, found in zip(made, tuned, strict=True))
    assert whole != small and small == again
    for a, b in zip(whole, small, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=0.25)
    assert made[1].adapter(tuned[1]).keys() == made[0].adapter(tuned[0]).keys()
    assert made[1].key() != made[0].key()
