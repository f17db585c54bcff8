"""What moves in part is stepped in part: as AdamW would with masked gradients, with state for those entries only."""

import gc
import weakref

import torch

from holdfast.training.slices import Slices


def stepped(mask: torch.Tensor | None, rounds: int, frozen: tuple[int, ...] = ()) -> tuple[torch.Tensor, int]:
    """The weight after some steps on one loss, and how many moments were kept; `mask` by slices, or by a hook."""
    torch.manual_seed(3)
    weight, beside = torch.nn.Parameter(torch.randn(4, 6)), torch.nn.Parameter(torch.randn(6))
    moving = {"w": weight, "b": beside}
    slices = Slices(moving, {} if mask is None else {"w": mask})
    optimizer = torch.optim.AdamW(slices.stepped.values(), lr=0.1, weight_decay=0.0, fused=True)
    slices.follow(optimizer)
    inputs = torch.randn(rounds, 2, 5, 4)
    for number, parts in enumerate(inputs):
        weight.requires_grad_(number not in frozen)
        for part in parts:
            (part @ weight + beside).tanh().square().sum().backward()
        assert mask is None or weight.grad is None, "the whole gradient does not last"
        torch.nn.utils.clip_grad_norm_(slices.stepped.values(), 1.0)
        optimizer.step()
        for parameter in moving.values():
            parameter.grad = None
    return weight.detach(), sum(s["exp_avg"].numel() + s["exp_avg_sq"].numel() for s in optimizer.state.values())


def test_entries_take_the_steps_that_a_masked_gradient_gives() -> None:
    mask = torch.rand(4, 6, generator=torch.Generator().manual_seed(1)) < 0.4
    torch.manual_seed(3)
    begun = torch.randn(4, 6)
    found, moments = stepped(mask, 5)
    assert torch.equal(found[~mask], begun[~mask]) and (found[mask] != begun[mask]).all()
    assert moments == 2 * (int(mask.sum()) + 6)
    torch.manual_seed(3)
    weight, beside = torch.nn.Parameter(torch.randn(4, 6)), torch.nn.Parameter(torch.randn(6))
    weight.register_hook(lambda gradient: gradient * mask)
    optimizer = torch.optim.AdamW([weight, beside], lr=0.1, weight_decay=0.0, fused=True)
    for parts in torch.randn(5, 2, 5, 4):
        for part in parts:
            (part @ weight + beside).tanh().square().sum().backward()
        torch.nn.utils.clip_grad_norm_([weight, beside], 1.0)
        optimizer.step()
        optimizer.zero_grad()
    torch.testing.assert_close(found, weight.detach(), rtol=1e-5, atol=1e-6)


def test_what_waits_is_not_stepped_and_goes_on_later() -> None:
    mask = torch.ones(4, 6, dtype=torch.bool)
    mask[0] = False
    still, _ = stepped(mask, 3, frozen=(0, 1, 2))
    torch.manual_seed(3)
    assert torch.equal(still, torch.randn(4, 6))
    later, _ = stepped(mask, 3, frozen=(0, 1))
    assert not torch.equal(later[1:], still[1:]) and torch.equal(later[0], still[0])


def test_whoever_writes_to_the_tensor_is_heard() -> None:
    weight = torch.nn.Parameter(torch.zeros(3))
    slices = Slices({"w": weight}, {"w": torch.tensor([True, False, True])})
    optimizer = torch.optim.SGD(slices.stepped.values(), lr=1.0)
    slices.follow(optimizer)
    with torch.no_grad():
        weight.copy_(torch.tensor([5.0, 6.0, 7.0]))
    weight.sum().backward()
    optimizer.step()
    assert weight.tolist() == [4.0, 6.0, 6.0]


def test_nothing_outlives_whoever_used_it() -> None:
    weight = torch.nn.Parameter(torch.randn(4, 6))
    slices = Slices({"w": weight}, {"w": torch.rand(4, 6) < 0.4})
    (torch.randn(5, 4) @ weight).sum().backward()
    left = weakref.ref(weight)
    del weight, slices
    gc.collect()
    assert left() is None, "the tensor is held by its own hook"
