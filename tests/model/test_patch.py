"""Patches of tensors: exact, smallest, and refused whole when a part does not fit."""

import pytest
import torch

from holdfast import patch
from holdfast.errors import Corrupt


def tensors():
    generator = torch.Generator().manual_seed(3)
    return {
        name: torch.randn(shape, generator=generator) for name, shape in (("a.w", (5, 4)), ("a.b", (5,)), ("c", (3, 3)))
    }


def test_whole_tensors_and_masked_entries_are_set_and_nothing_else():
    old, new = tensors(), {name: value + 1 for name, value in tensors().items()}
    mask = torch.zeros(5, 4, dtype=torch.bool)
    mask[1, 2] = mask[4, 0] = True
    held = patch.make(new, ["c"], {"a.w": mask})
    assert held["a.w.indices"].tolist() == [6, 16] and held["a.w.indices"].dtype == torch.int32
    assert patch.contents(held) == (["c"], {"a.w": 2})
    patch.apply(old, held)
    assert torch.equal(old["c"], new["c"]) and torch.equal(old["a.b"], tensors()["a.b"])
    assert torch.equal(old["a.w"], torch.where(mask, new["a.w"], tensors()["a.w"]))


def test_a_difference_turns_one_into_the_other_and_keeps_few_changes_as_entries():
    old, new = tensors(), tensors()
    new["a.w"][0, 1] = 9.0
    new["c"] += 1
    held = patch.difference(old, new)
    assert patch.contents(held) == (["c"], {"a.w": 1})
    patch.apply(old, held)
    assert all(torch.equal(old[name], new[name]) for name in new)
    assert patch.difference(old, new) == {}


def test_a_difference_is_of_bits_so_a_zero_that_changes_sign_counts():
    old, new = {"x": torch.zeros(3)}, {"x": torch.tensor([0.0, -0.0, 0.0])}
    assert patch.difference(old, new)["x.indices"].tolist() == [1]
    assert patch.difference({"x": torch.tensor([float("nan")])}, {"x": torch.tensor([float("nan")])}) == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"unknown": torch.zeros(3)},
        {"c": torch.zeros(9)},
        {"c.indices": torch.tensor([0, 1]), "c.values": torch.zeros(3)},
        {"c.indices": torch.tensor([0, 1])},
        {"c.indices": torch.tensor([0, 9]), "c.values": torch.zeros(2)},
        {"c.indices": torch.tensor([-1, 3]), "c.values": torch.zeros(2)},
        {"c.indices": torch.tensor([4, 4]), "c.values": torch.zeros(2)},
        {"c.indices": torch.tensor([1.0]), "c.values": torch.zeros(1)},
    ],
    ids=["unknown", "shape", "lengths", "no values", "too far", "negative", "twice", "not integers"],
)
def test_a_patch_that_does_not_fit_is_refused_and_nothing_is_touched(wrong):
    target = tensors()
    with pytest.raises(Corrupt):
        patch.apply(target, {"a.b": torch.ones(5), **wrong})
    assert all(torch.equal(target[name], value) for name, value in tensors().items())


def test_values_without_indices_are_refused():
    with pytest.raises(Corrupt):
        patch.apply(tensors(), {"c.values": torch.zeros(2)})
