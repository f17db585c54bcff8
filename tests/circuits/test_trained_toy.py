"""The method at work, on networks that have learned a task: what scores say of single heads, and circuits carry.

Toys trained here differ from seed to seed and from machine to machine, so nothing rests on one of them: see the
table in `docs/circuits.md`, which `benchmarks/circuits/toy.py` makes.
"""

import statistics

import pytest
import torch

from benchmarks.circuits import toy

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _one_thread():
    """As in the table: how many threads there are decides how sums are rounded, and so which network is learned."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_scores_follow_what_single_heads_are_worth_in_the_decoder_that_lies_here() -> None:
    """Its weights are the same everywhere. On strings they do not follow at all, as the table says."""
    found = toy.measure_bundled("subtraction")
    assert found.accuracy >= toy.ENOUGH
    assert found.pearson >= 0.8


QWEN, BERT = toy.TOYS[0], toy.TOYS[-1]


@pytest.mark.parametrize(
    ("kind", "seeds", "over_random"), [(QWEN, (0, 1), 0.3), (BERT, (0, 1, 2), 0.0)], ids=["qwen2", "bert"]
)
def test_circuits_carry_the_task_and_scores_go_with_single_head_ablation_on_average(kind, seeds, over_random) -> None:
    found = [toy.measure(toy.train(kind, seed), kind.task, seed) for seed in seeds]
    assert all(one.accuracy >= toy.ENOUGH for one in found)
    assert all(one.faithfulness > 0.8 and one.faithfulness > one.random + over_random for one in found)
    assert statistics.mean(one.pearson for one in found) > 0.5, [one.pearson for one in found]


def test_a_toy_that_cannot_know_the_answer_is_seen_not_to_be_trained() -> None:
    assert toy.measure(toy.train(toy.Toy("qwen2", "negation", 2, 4, 5), 0), "negation", 0).accuracy < toy.ENOUGH
