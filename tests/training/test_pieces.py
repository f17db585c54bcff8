"""Log-probabilities by parts of the vocabulary against all logits at once, in float64, and their derivatives."""

import pytest
import torch

from holdfast.training import pieces

TOKENS, WIDTH, WORDS = 11, 6, 37


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(pieces, "_STATES", 4)
    monkeypatch.setattr(pieces, "_COLUMNS", 5)


def made(spread: float = 1.0):
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(TOKENS, WIDTH, generator=generator)
    weight = spread * torch.randn(WORDS, WIDTH, generator=generator)
    labels = torch.arange(TOKENS) * 7 % WORDS
    labels[0], labels[1] = 0, WORDS - 1
    return states, labels, weight, torch.randn(WORDS, generator=generator)


def all_at_once(states, labels, weight, bias):
    """Log-probabilities and the derivatives of their weighted sum, by autograd in float64."""
    leaf = states.double().requires_grad_()
    logits = torch.nn.functional.linear(leaf, weight.double(), None if bias is None else bias.double())
    found = logits.log_softmax(-1)[torch.arange(len(labels)), labels]
    (found * torch.arange(1.0, TOKENS + 1).double()).sum().backward()
    return found.detach(), leaf.grad


def by_parts(states, labels, weight, bias):
    leaf = states.clone().requires_grad_()
    found = pieces.log_probabilities(leaf, labels, (weight, bias))
    (found * torch.arange(1.0, TOKENS + 1)).sum().backward()
    return found.detach(), leaf.grad


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("spread", [0.1, 1.0, 30.0])  # logits up to some hundred
def test_values_and_derivatives_are_those_of_all_logits_at_once(spread, biased):
    states, labels, weight, bias = made(spread)
    given = (states, labels, weight, bias if biased else None)
    for found, wanted in zip(by_parts(*given), all_at_once(*given), strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-5 * spread)


def test_in_half_the_bits_they_are_as_close_as_bf16_is():
    states, labels, weight, _ = made()
    weight, states = weight.bfloat16(), states.bfloat16().float()
    wanted = all_at_once(states, labels, weight.float(), None)
    for found, exact in zip(by_parts(states, labels, weight, None), wanted, strict=True):
        assert float((found.double() - exact).norm() / exact.norm()) < 1e-2


def test_of_a_label_that_is_sure_the_derivative_keeps_its_digits():
    states, labels, weight, _ = made()
    weight[labels[3]] = 4 * states[3]
    weight = weight.bfloat16()
    states = states.bfloat16().float()
    exact = all_at_once(states, labels, weight.float(), None)[1][3]
    assert 0 < float(exact.norm()) < 1e-2
    found = by_parts(states, labels, weight, None)[1][3].double()
    assert float((found - exact).norm() / exact.norm()) < 0.2


@pytest.mark.parametrize("lead", [-300.0, -95.0, 95.0, 300.0])
def test_a_label_far_above_or_below_all_others_gives_finite_numbers(lead):
    states, labels, weight, _ = made()
    bias = torch.zeros(WORDS)
    bias[labels[3]] = lead
    given = (states, labels, weight, bias)
    for found, wanted in zip(by_parts(*given), all_at_once(*given), strict=True):
        assert found.isfinite().all()
        torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-4)


def test_nothing_as_large_as_the_logits_is_made():
    class Largest(torch.utils._python_dispatch.TorchDispatchMode):
        most = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            found = func(*args, **(kwargs or {}))
            if isinstance(found, torch.Tensor) and not func.is_view:
                self.most = max(self.most, found.numel())
            return found

    given = made()
    with Largest() as seen:
        by_parts(*given)
    assert seen.most <= TOKENS * WIDTH < TOKENS * WORDS
