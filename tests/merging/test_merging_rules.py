"""Task arithmetic and TIES against a case worked by hand, and against PEFT's own on one tensor."""

import pytest
import torch
from peft.utils import merge_utils

from holdfast.merging import rules

ONE = torch.tensor([4.0, -3.0, 1.0, 0.5, 0.0])
TWO = torch.tensor([-2.0, -5.0, 3.0, 0.4, 0.1])
THREE = torch.tensor([-1.0, 2.0, 3.5, -6.0, 0.2])


def test_ties_as_worked_by_hand():
    """Density 0.6 keeps 3 of 5 of each: 4 -3 1 0 0; -2 -5 3 0 0; 0 2 3.5 -6 0.

    Totals 2 -6 7.5 -6 0 elect + - + - +; what agrees: {4}; {-3 -5}; {1 3 3.5}; {-6}; nothing.
    """
    vectors = [{"a": v[:2], "b": v[2:]} for v in (ONE, TWO, THREE)]
    found = rules.ties(vectors, [1.0, 1.0, 1.0], 0.6)
    torch.testing.assert_close(torch.cat([found["a"], found["b"]]), torch.tensor([4.0, -4.0, 2.5, -6.0, 0.0]))


def test_ties_weighs_after_the_election():
    vectors = [{"a": v} for v in (ONE, TWO, THREE)]
    found = rules.ties(vectors, [1.0, 10.0, 2.0], 0.6)
    torch.testing.assert_close(found["a"], torch.tensor([4.0, -26.5, 38.0 / 3, -12.0, 0.0]))


@pytest.mark.parametrize("density", [0.2, 0.5, 1.0])
def test_ties_is_pefts_on_one_tensor(density):
    generator = torch.Generator().manual_seed(1)
    drawn = [torch.randn(40, generator=generator) for _ in range(3)]
    weights = [0.5, 1.0, -2.0]
    wanted = merge_utils.ties(drawn, torch.tensor(weights), density)
    torch.testing.assert_close(rules.ties([{"a": v} for v in drawn], weights, density)["a"], wanted)


def test_task_arithmetic_adds_and_takes_away():
    found = rules.task_arithmetic([{"a": ONE}, {"a": TWO}], [0.5, -1.0])
    torch.testing.assert_close(found["a"], torch.tensor([4.0, 3.5, -2.5, -0.15, -0.1]))
