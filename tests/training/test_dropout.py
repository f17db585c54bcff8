"""Dropout from a generator of its own: the right share, the same expectation, alike for a step and for no other."""

import pytest
import torch
from torch import nn

from holdfast import models
from holdfast.training.dropout import Dropout


def test_the_share_is_dropped_and_the_rest_makes_up_for_it() -> None:
    network = nn.Sequential(nn.Dropout(0.3), nn.Dropout(0.0))
    made = Dropout(network, 7)
    with made.drawing(0):
        found = network.train()(torch.ones(401, 1001))
    assert len(made.modules) == 1
    assert float((found == 0).float().mean()) == pytest.approx(0.3, abs=4e-3)
    assert float(found.mean()) == pytest.approx(1.0, abs=4e-3)
    assert sorted(set(found.unique().tolist())) == pytest.approx([0.0, 1 / 0.7], abs=1e-4)
    rows, columns = (found == 0).float().mean(1), (found == 0).float().mean(0)
    assert float(rows.std()) == pytest.approx((0.21 / 1001) ** 0.5, rel=0.3)
    assert float(columns.std()) == pytest.approx((0.21 / 401) ** 0.5, rel=0.3)


def test_a_step_is_repeated_whatever_else_draws_and_another_differs() -> None:
    network, values = nn.Sequential(nn.Dropout(0.5)).train(), torch.ones(50)

    def drawn(seed: int, step: int) -> list[list[float]]:
        made = Dropout(network, seed)
        torch.rand(step + 1)
        with made.drawing(step):
            return [network(values).tolist() for _ in range(2)]

    first = drawn(1, 5)
    assert first == drawn(1, 5) and first[0] != first[1]
    assert first != drawn(1, 6) and first != drawn(2, 5)
    assert network[0].__dict__.get("forward") is None


def test_in_eval_mode_nothing_is_dropped_and_gradients_pass_where_values_do() -> None:
    network, values = nn.Sequential(nn.Dropout(0.5)), torch.ones(60, requires_grad=True)
    with Dropout(network, 1).drawing(0):
        assert torch.equal(network.eval()(values), values)
        found = network.train()(values)
    found.sum().backward()
    assert torch.equal(values.grad, found.detach())


def test_attention_without_luck_is_transformers_own(tiny_start, home) -> None:
    """With every draw kept, what the network gives in training is what it gives in eval mode."""
    model = models.load(tiny_start, home)
    inputs = model.tokenizer(["the movie was good", "bad"], padding=True, return_tensors="pt")
    expected = model.network.eval()(**inputs).logits
    for module in model.network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 1e-9
    made = Dropout(model.network, 3)
    with made.drawing(0):
        found = model.network.train()(**inputs).logits
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    for module in model.network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.4
    with made.drawing(0):
        assert not torch.allclose(model.network(**inputs).logits, expected, atol=1e-3)
