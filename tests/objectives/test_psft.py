"""PSFT's loss and figures by themselves."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from holdfast import choices
from holdfast.errors import BadInput
from holdfast.objectives import psft

GENERATOR = torch.Generator().manual_seed(4)
NOW = 2 * torch.randn(50, 5, generator=GENERATOR, dtype=torch.float64)
OLD = NOW + 0.5 * torch.randn(50, 5, generator=GENERATOR, dtype=torch.float64)
Y = torch.arange(50) % 5
OPTIONS = psft.Options()


def gradient(old: torch.Tensor | None, options: psft.Options = OPTIONS) -> torch.Tensor:
    leaf = NOW.clone().requires_grad_()
    return torch.autograd.grad(psft.loss(leaf, Y, options, old=old).mean(), leaf)[0]


def plain() -> torch.Tensor:
    leaf = NOW.clone().requires_grad_()
    return torch.autograd.grad(cross_entropy(leaf, Y), leaf)[0]


def ratio() -> torch.Tensor:
    rows = torch.arange(50)
    return NOW.softmax(-1)[rows, Y] / OLD.softmax(-1)[rows, Y]


def test_right_after_a_refresh_the_gradient_is_sfts() -> None:
    assert torch.equal(gradient(NOW.clone()), plain())
    assert torch.equal(gradient(None), plain())


def test_the_loss_is_the_clipped_surrogate_of_ppo_with_advantage_one() -> None:
    r = ratio()
    wanted = torch.maximum(-r, -r.clamp(1 - 0.2, 1.28))
    assert torch.allclose(psft.loss(NOW, Y, OPTIONS, old=OLD), wanted, rtol=1e-10)


def test_the_gradient_is_the_ratio_up_to_the_bound_and_nothing_beyond() -> None:
    r = ratio()
    weight = torch.where(r <= 1.28, r, 0.0)
    assert 5 < int((weight == 0).sum()) < 45
    p = NOW.softmax(-1)
    wanted = weight.unsqueeze(-1) * (p - torch.nn.functional.one_hot(Y, 5)) / 50
    assert torch.allclose(gradient(OLD), wanted, rtol=1e-10, atol=1e-14)
    assert torch.equal(gradient(OLD)[r > 1.28], torch.zeros(int((r > 1.28).sum()), 5, dtype=torch.float64))


def test_figures() -> None:
    found = psft.figures(NOW, Y, OPTIONS, old=OLD)
    p, q = NOW.softmax(-1), OLD.softmax(-1)
    assert torch.allclose(found["nll"], cross_entropy(NOW, Y, reduction="none"))
    assert torch.allclose(found["entropy"], torch.distributions.Categorical(p).entropy())
    assert torch.allclose(found["ratio"], ratio())
    assert torch.equal(found["clipped"], (ratio() > 1.28).double())
    wanted = torch.distributions.kl_divergence(*(torch.distributions.Categorical(x) for x in (q, p)))
    assert torch.allclose(found["kl_to_old"], wanted)
    warming = psft.figures(NOW, Y, OPTIONS, old=None)
    assert warming["ratio"].eq(1).all() and warming["kl_to_old"].eq(0).all() and warming["clipped"].eq(0).all()


@pytest.mark.parametrize("refresh", [0, "always", -3, 1.5])
def test_a_refresh_is_a_number_of_updates_or_never(refresh: object) -> None:
    with pytest.raises(BadInput, match=r"objective\.psft\.refresh`: give a number of updates"):
        choices.parse("objectives", {"psft": {"refresh": refresh}}, "objective")


def test_a_refresh_may_never_come() -> None:
    assert choices.parse("objectives", {"psft": "never"}, "objective")["psft"]["refresh"] == "never"
