"""Every objective's logit gradient against autograd of its own formula in float64, and against scale * (p - Q)."""

import math
from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div, one_hot
from torch.utils._python_dispatch import TorchDispatchMode

from holdfast import choices
from holdfast.objectives import _qtarget, dft, kd, label_smoothing, sft, sft_kl, target

ROWS, LABELS = 40, 7


def some(seed: int, rows: int = ROWS, labels: int = LABELS, spread: float = 2.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.randn(rows, labels, generator=generator, dtype=torch.float64)


LOGITS, TEACHER = some(1), some(2)
Y = torch.arange(ROWS) % LABELS


def p_y(z: torch.Tensor) -> torch.Tensor:
    return z.softmax(-1)[torch.arange(len(z)), Y]


def kl_from(start: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    return kl_div(z.log_softmax(-1), start.softmax(-1), reduction="none").sum(-1)


def eaft(z: torch.Tensor) -> torch.Tensor:
    top = z.detach().softmax(-1).sort(-1, descending=True).values[:, :3]
    top = top / top.sum(-1, keepdim=True)
    return -((top * -top.log()).sum(-1) / math.log(3)) * p_y(z).log()


def gem(z: torch.Tensor) -> torch.Tensor:
    q = z.detach().softmax(-1) ** (1 / 0.7)
    q = q / q.sum(-1, keepdim=True)
    return cross_entropy(z, Y, reduction="none") - cross_entropy(z, q, reduction="none")


def target_sft(z: torch.Tensor) -> torch.Tensor:
    p = z.detach().softmax(-1)
    mixed = p**0.7 * TEACHER.softmax(-1) ** 0.3
    mixed = mixed / mixed.sum(-1, keepdim=True)
    believed = p_y(z).detach().unsqueeze(-1)
    return cross_entropy(z, believed * one_hot(Y, LABELS) + (1 - believed) * mixed, reduction="none")


def iw_sft(z: torch.Tensor) -> torch.Tensor:
    return -(p_y(z).detach() / p_y(TEACHER)).clamp(max=2.0) * p_y(z).log()


Formula = Callable[[torch.Tensor], torch.Tensor]
FORMULAS: dict[str, tuple[dict, Formula]] = {
    "sft": ({}, lambda z: -p_y(z).log()),
    "p-loss": ({}, lambda z: 1 - p_y(z)),
    "dft": ({}, lambda z: -p_y(z).detach() * p_y(z).log()),
    "beyond-log": ({"exponent": 0.3}, lambda z: (1 - p_y(z) ** 0.3) / 0.3),
    "profit": ({"threshold": 0.2}, lambda z: -(p_y(z) > 0.2).double().detach() * p_y(z).log()),
    "eaft": ({"top": 3}, eaft),
    "cft": ({}, lambda z: -(TEACHER.argmax(-1) != Y).double() * p_y(z).log()),
    "iw-sft": ({"cap": 2.0}, iw_sft),
    "focal": ({"exponent": 1.5}, lambda z: -((1 - p_y(z)) ** 1.5) * p_y(z).log()),
    "label-smoothing": ({"smoothing": 0.2}, lambda z: cross_entropy(z, Y, reduction="none", label_smoothing=0.2)),
    "sft-kl": ({"strength": 0.4}, lambda z: -p_y(z).log() + 0.4 * kl_from(TEACHER, z)),
    "asft": ({"strength": 0.4}, lambda z: -p_y(z).detach() * p_y(z).log() + 0.4 * kl_from(TEACHER, z)),
    "gem": ({"temperature": 0.7}, gem),
    "kd": ({"teacher": "t"}, lambda z: kl_from(TEACHER, z)),
    "hybrid-kd": (
        {"teacher": "t", "share": 0.3},
        lambda z: 0.7 * cross_entropy(z, Y, reduction="none") + 0.3 * kl_from(TEACHER, z),
    ),
    "target": ({"eta": 0.3}, target_sft),
}


def gradient(formula: Formula, z: torch.Tensor = LOGITS) -> torch.Tensor:
    leaf = z.clone().requires_grad_()
    return torch.autograd.grad(formula(leaf).sum(), leaf)[0]


def ours(name: str, values: dict, z: torch.Tensor = LOGITS) -> torch.Tensor:
    module, options = choices.load("objectives", name), choices.options("objectives", name, values)
    given = {"teacher": TEACHER.to(z.dtype)} if "teacher" in getattr(module, "NEEDS", ()) else {}
    return gradient(lambda leaf: module.loss(leaf, Y, options, **given), z)


def test_every_objective_is_here() -> None:
    assert set(FORMULAS) | {"psft"} == set(choices.names("objectives"))


@pytest.mark.parametrize("name", list(FORMULAS))
def test_the_gradient_is_that_of_the_formula(name: str) -> None:
    values, formula = FORMULAS[name]
    wanted = gradient(formula)
    assert wanted.abs().max() > 0.05
    assert torch.allclose(ours(name, values), wanted, rtol=1e-10, atol=1e-12)
    assert torch.allclose(ours(name, values, LOGITS.float()).double(), wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", list(FORMULAS))
def test_the_gradient_is_the_scaled_difference_from_the_target(name: str) -> None:
    values, _ = FORMULAS[name]
    module, options = choices.load("objectives", name), choices.options("objectives", name, values)
    wanted = module.target(_qtarget.Seen(LOGITS.log_softmax(-1), Y, TEACHER.log_softmax(-1)), options)
    p = LOGITS.softmax(-1)
    reliance = torch.as_tensor(wanted.reliance, dtype=torch.float64).expand(ROWS).unsqueeze(-1)
    residual = p if wanted.residual is None else wanted.residual
    q = reliance * one_hot(Y, LABELS) + (1 - reliance) * residual
    if name == "gem":
        q = one_hot(Y, LABELS) + p - residual
    assert torch.allclose(q.sum(-1), torch.ones(ROWS, dtype=torch.float64)), "a target was meant to sum to 1"
    scale = torch.as_tensor(wanted.scale, dtype=torch.float64).expand(ROWS).unsqueeze(-1)
    assert torch.allclose(ours(name, values), scale * (p - q), rtol=1e-10, atol=1e-12)


def test_scales_and_reliances_are_those_of_the_table() -> None:
    seen = _qtarget.Seen(LOGITS.log_softmax(-1), Y, TEACHER.log_softmax(-1))
    found = choices.load("objectives", "asft").target(seen, choices.options("objectives", "asft", {"strength": 0.4}))
    assert torch.allclose(found.scale, p_y(LOGITS) + 0.4)
    assert torch.allclose(found.reliance, p_y(LOGITS) / (p_y(LOGITS) + 0.4))
    anchored = sft_kl.target(seen, sft_kl.Options(strength=0.4))
    assert (anchored.scale, anchored.reliance) == (1.4, pytest.approx(1 / 1.4))


def test_target_without_a_share_of_the_teacher_is_dft() -> None:
    wanted = ours("dft", {})
    assert torch.allclose(ours("target", {"eta": 0.0}), wanted, rtol=1e-12, atol=1e-14)
    assert not torch.allclose(ours("target", {"eta": 0.1}), wanted, atol=1e-3)


def test_target_with_the_teacher_alone_leaves_the_rest_to_it() -> None:
    p, believed = LOGITS.softmax(-1), p_y(LOGITS).unsqueeze(-1)
    wanted = believed * (p - one_hot(Y, LABELS)) + (1 - believed) * (p - TEACHER.softmax(-1))
    assert torch.allclose(ours("target", {"eta": 1.0}), wanted, rtol=1e-10, atol=1e-12)


def test_without_stopped_gradients_target_and_dft_would_be_others() -> None:
    def leaking(z: torch.Tensor) -> torch.Tensor:
        log_p = z.log_softmax(-1)
        mixed = (0.7 * log_p + 0.3 * TEACHER.log_softmax(-1)).softmax(-1)
        return -(p_y(z) * p_y(z).log() + (1 - p_y(z)) * (mixed * log_p).sum(-1))

    assert (gradient(leaking) - ours("target", {"eta": 0.3})).abs().max() > 0.1
    assert (gradient(lambda z: -p_y(z) * p_y(z).log()) - ours("dft", {})).abs().max() > 0.1


def test_no_gradient_reaches_the_teacher() -> None:
    teacher = TEACHER.clone().requires_grad_()
    losses = target.loss(LOGITS.clone().requires_grad_(), Y, target.Options(eta=0.5), teacher=teacher)
    losses.sum().backward()
    assert teacher.grad is None


def test_values_that_are_the_methods_own() -> None:
    """sft, dft, label smoothing and GEM give their loss itself; KD and the anchors give it up to a constant."""
    for name in ("sft", "dft", "label-smoothing", "gem"):
        values, formula = FORMULAS[name]
        found = choices.load("objectives", name).loss(LOGITS, Y, choices.options("objectives", name, values))
        assert torch.allclose(found, formula(LOGITS), rtol=1e-10)
    entropy = -(TEACHER.softmax(-1) * TEACHER.log_softmax(-1)).sum(-1)
    found = kd.loss(LOGITS, Y, kd.Options(teacher="t"), teacher=TEACHER)
    assert torch.allclose(found, kl_from(TEACHER, LOGITS) + entropy, rtol=1e-10)


def test_label_smoothing_is_torchs() -> None:
    logits = LOGITS.float()
    for smoothing in (0.0, 0.1, 0.9):
        found = label_smoothing.loss(logits, Y, label_smoothing.Options(smoothing=smoothing))
        wanted = cross_entropy(logits, Y, reduction="none", label_smoothing=smoothing)
        assert torch.allclose(found, wanted, rtol=1e-5)


def test_sft_has_the_bits_of_torchs_cross_entropy() -> None:
    logits = LOGITS.float()
    mine = gradient(lambda z: sft.loss(z, Y, sft.Options()) / ROWS, logits)
    assert torch.equal(mine, gradient(lambda z: cross_entropy(z, Y), logits))


def test_a_certain_model_gives_finite_numbers() -> None:
    certain = torch.full((ROWS, LABELS), -300.0)
    certain[torch.arange(ROWS), torch.arange(ROWS) % 5] = 300.0
    for name, (values, _) in FORMULAS.items():
        assert ours(name, values, certain).isfinite().all(), name


def test_fewer_labels_than_eaft_looks_at() -> None:
    assert ours("eaft", {"top": 50}).isfinite().all()


def test_figures_are_the_cross_entropy_and_the_reliance() -> None:
    found = dft.figures(LOGITS.float(), Y, dft.Options())
    assert torch.allclose(found["nll"].double(), cross_entropy(LOGITS, Y, reduction="none"), rtol=1e-5)
    assert torch.allclose(found["reliance"].double(), p_y(LOGITS), rtol=1e-4)


@pytest.mark.parametrize("name", ["sft", "dft", "p-loss", "beyond-log", "focal", "profit"])
def test_the_label_s_log_probability_alone_gives_the_same_loss_gradient_and_figures(name: str) -> None:
    module = choices.load("objectives", name)
    options = choices.options("objectives", name, {})
    whole, alone = LOGITS.clone().requires_grad_(), LOGITS.clone().requires_grad_()
    wanted = module.loss(whole, Y, options)
    of_label = _qtarget.at(alone.log_softmax(-1), Y)
    found = module.loss_of_label(of_label, options)
    wanted.sum().backward()
    found.sum().backward()
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(alone.grad, whole.grad)
    if hasattr(module, "figures"):
        figures = module.figures_of_label(of_label, options)
        for key, value in module.figures(LOGITS, Y, options).items():
            torch.testing.assert_close(figures[key], value)
            assert not figures[key].requires_grad


def test_no_objective_that_looks_at_more_says_that_the_label_is_enough() -> None:
    more = [name for name in FORMULAS if not hasattr(choices.load("objectives", name), "loss_of_label")]
    assert {"target", "gem", "eaft", "kd", "cft", "label-smoothing", "iw-sft"} <= set(more)


class Largest(TorchDispatchMode):
    """Keeps the numbers of elements of every tensor that an operation makes, views left out."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[int] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.made += [t.numel() for t in torch.utils._pytree.tree_leaves(made) if isinstance(t, torch.Tensor)]
        return made


CHUNKED = ("target", "gem", "dft", "asft")


@pytest.mark.parametrize("name", CHUNKED)
def test_in_parts_it_is_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values, _ = FORMULAS[name]
    whole = ours(name, values, LOGITS.float())
    monkeypatch.setattr(_qtarget, "CELLS", 3 * LABELS)
    assert torch.allclose(ours(name, values, LOGITS.float()), whole, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("rows", [64, 256])
@pytest.mark.parametrize("name", CHUNKED)
def test_nothing_but_the_gradient_is_as_large_as_the_logits(name: str, rows: int, monkeypatch) -> None:
    monkeypatch.setattr(_qtarget, "CELLS", 8 * 500)
    module = choices.load("objectives", name)
    options = choices.options("objectives", name, FORMULAS[name][0])
    logits, teacher = some(3, rows, 500).float().requires_grad_(), some(4, rows, 500).float()
    given = {"teacher": teacher} if "teacher" in getattr(module, "NEEDS", ()) else {}
    labels = torch.arange(rows) % 500
    with Largest() as seen:
        (gradient,) = torch.autograd.grad(module.loss(logits, labels, options, **given).mean(), logits)
    assert gradient.shape == logits.shape
    assert sorted(seen.made)[-1] == rows * 500
    assert sorted(seen.made)[-2] == 8 * 500, "only the gradient itself was meant to be larger than one part"
