"""Gradients of moving rows and columns alone are those that the whole weight's would have there."""

import contextlib

import pytest
import torch
from torch import nn

from holdfast.training import sliced
from holdfast.training.slices import Places, Slices

ROWS, COLUMNS = torch.zeros(6, 4, dtype=torch.bool), torch.zeros(6, 4, dtype=torch.bool)
ROWS[[1, 4]] = True
COLUMNS[:, [0, 3]] = True


def network(bias: bool = True) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 6, bias=bias), nn.Tanh(), nn.Linear(6, 2))


def gradients(mask: torch.Tensor, spared: bool, autocast: bool = False, bias: bool = True):
    """The moving entries' gradient of two passes, the bias's, that of the layer below, and whether any was spared."""
    made = network(bias)
    slices = Slices(dict(made.named_parameters()), {"2.weight": mask})
    sparing = sliced.only_moving(made, slices) if spared else contextlib.nullcontext()
    with sparing:
        replaced = "forward" in vars(made[2])
        for part in torch.randn(2, 3, 7, 5, generator=torch.Generator().manual_seed(2)):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                found = made(part)
            found.float().square().sum().backward()
    assert "forward" not in vars(made[2]) and made[2].weight.grad is None
    own = made[2].bias.grad if bias else torch.zeros(1)
    return slices.stepped["2.weight"].grad, own, made[0].weight.grad, replaced


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("mask", [ROWS, COLUMNS], ids=["rows", "columns"])
def test_the_gradient_is_the_whole_one_s(mask, autocast, bias) -> None:
    *wanted, whole = gradients(mask, False, autocast, bias)
    *found, replaced = gradients(mask, True, autocast, bias)
    assert replaced and not whole
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=2e-2 if autocast else 1e-5, atol=2e-2 if autocast else 1e-6)


@pytest.mark.parametrize("mask", [ROWS, COLUMNS, ROWS | COLUMNS, ROWS[:, 0], ROWS.new_ones(6, 4)])
def test_places_are_taken_and_put_in_the_order_of_the_tensor(mask) -> None:
    values = torch.arange(mask.numel(), dtype=torch.float32).view(mask.shape)
    places, changed = Places.of(mask), values.clone()
    assert torch.equal(places.take(values), values[mask])
    places.put(changed, -1 - values[mask])
    assert torch.equal(changed, torch.where(mask, -1 - values, values))


def test_only_whole_rows_or_columns_are_told() -> None:
    for dim, mask, chosen in ((0, ROWS, [1, 4]), (1, COLUMNS, [0, 3])):
        places = Places.of(mask)
        assert places.dim == dim and places.index.tolist() == chosen
    scattered = ROWS.clone()
    scattered[2, 2] = True
    assert Places.of(scattered).dim is None and Places.of(ROWS[:, 0]).dim is None
    assert gradients(scattered, True)[-1] is False


def test_a_weight_that_waits_gets_no_gradient_and_an_older_one_is_used_in_its_place() -> None:
    made = network()
    slices = Slices(dict(made.named_parameters()), {"2.weight": ROWS})
    values = torch.randn(3, 5)
    with sliced.only_moving(made, slices):
        made[2].weight.requires_grad_(False)
        made(values).sum().backward()
        assert slices.stepped["2.weight"].grad is None
        made[2].weight.requires_grad_(True)
        older = {"2.weight": torch.zeros(6, 4)}
        found = torch.func.functional_call(made, older, (values,))
    torch.testing.assert_close(found, torch.func.functional_call(network(), older, (values,)))


def test_a_layer_that_computes_something_else_is_left_alone() -> None:
    made = network()
    slices = Slices(dict(made.named_parameters()), {"2.weight": ROWS})
    made[2].forward = lambda values: torch.zeros(len(values), 6)
    with sliced.only_moving(made, slices):
        assert not made[2](torch.ones(1, 4)).any()
