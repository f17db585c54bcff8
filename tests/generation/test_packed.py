"""Rows end to end: what a row gives is what it gives alone, for every shape, and so are loss and gradients."""

import pytest
import torch

from holdfast import models
from holdfast.training import packing
from tests.generation.conftest import SHAPES, passes

ROWS = [("say it", "is"), ("1 and 2", "make 3"), ("why", "because the answer is longer than the others"), ("a", "b")]


def states_and_gradients(decoder, made):
    decoder.network.zero_grad()
    states = made._states
    weights = torch.linspace(-1, 1, states.numel()).view_as(states)
    (states * weights).sum().backward()
    gradients = {n: p.grad.clone() for n, p in decoder.network.named_parameters() if p.grad is not None}
    return states.detach(), gradients


@pytest.mark.parametrize("shape", SHAPES)
def test_packed_rows_give_what_padded_ones_give(shape, start, home) -> None:
    decoder = models.load(start(shape).model_copy(update={"task": "generation"}), home)
    make = passes(decoder, ROWS, 96)
    padded, packed = (states_and_gradients(decoder, make([0, 1, 2, 3], packs)) for packs in (False, True))
    torch.testing.assert_close(packed[0], padded[0], atol=2e-5, rtol=1e-4)
    assert packed[1].keys() == padded[1].keys() and packed[1]
    for name, gradient in padded[1].items():
        torch.testing.assert_close(packed[1][name], gradient, atol=1e-4, rtol=1e-3, msg=name)


def test_another_row_in_the_bin_changes_nothing(start, home) -> None:
    decoder = models.load(start("llama").model_copy(update={"task": "generation"}), home)
    make = passes(decoder, ROWS, 96)
    alone, beside = (make(rows, True) for rows in ([2, 0], [2, 0, 1, 3]))
    assert beside.packing.bins < len(ROWS), "there is something to see"
    count = len(alone._states)
    torch.testing.assert_close(beside._states[:count], alone._states, atol=2e-5, rtol=1e-4)


def test_bins_are_as_wide_as_the_longest_row_and_few() -> None:
    assert packing.first_fit([3, 10, 4, 6, 2], 10) == [[1], [3, 2], [0, 4]]
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]])
    made = packing.of(mask)
    assert (made.bins, made.places) == (2, 8)
    values = torch.arange(12).view(3, 4) + 1
    assert made.pack(values).tolist() == [[5, 6, 7, 8], [1, 2, 9, 0]]
    assert made.unpack(made.pack(values)).tolist() == (values * mask).tolist()
