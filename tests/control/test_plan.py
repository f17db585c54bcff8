"""What looks cost and how many are paid for, counted by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from holdfast import models, selection, spec
from holdfast.control import plan
from holdfast.selection import Selection

SETTINGS = spec.Control()


def test_padded_tokens_are_those_of_batches_of_32_by_length_and_of_widths_that_8_divides() -> None:
    assert plan.padded([3, 5, 4]) == 3 * 8
    assert plan.padded([10] + [2] * 32) == 16 * 32 + 8


def test_everything_is_looked_at_where_that_can_be_paid() -> None:
    work, lengths = [240] * 100, [[8] * 50, [8] * 50]
    assert plan.rows(work, lengths, SETTINGS) == [50, 50]
    made = plan.make(work, lengths, SETTINGS)
    assert (made.look, made.steps) == (800, (25, 50, 75, 100))
    assert (made.allowed(100), made.allowed(50)) == (7200, 3600)


def test_there_are_fewer_looks_along_the_way_before_there_are_fewer_rows() -> None:
    work, lengths = [160] * 100, [[8] * 50, [8] * 50]
    assert plan.rows(work, lengths, SETTINGS) == [50, 50]
    assert plan.make(work, lengths, SETTINGS).steps == (50, 100), "six looks: the start model, two, three on a line"


def test_fewer_rows_are_looked_at_where_not_even_six_looks_can_be_paid() -> None:
    lengths = [[8] * 100, [8] * 200]
    assert plan.rows([400] * 100, lengths, SETTINGS) == [75, 150], "90% of 0.3 * 40000 / (6 * 2400) rows"
    assert plan.rows([80] * 100, lengths, SETTINGS) == [40, 40], "a handful of rows decides nothing"


def test_where_three_looks_can_be_paid_there_is_one_at_the_end_and_else_none() -> None:
    lengths = [[8] * 40, [8] * 40]
    assert plan.make([64] * 100, lengths, SETTINGS).steps == (100,)
    assert plan.make([40] * 100, lengths, SETTINGS).steps == ()


def test_what_a_look_costs_beside_its_rows_leaves_less_for_them() -> None:
    lengths = [[8] * 100, [8] * 200]
    assert plan.rows([400] * 100, lengths, SETTINGS, fixed=800) == [45, 90], "90% of 0.3 * 40000 / 6 - 800 of 2400"
    assert plan.rows([400] * 100, lengths, SETTINGS, fixed=9000) == [40, 40]
    made = plan.make([400] * 100, [[8] * 50, [8] * 100], SETTINGS, fixed=800)
    assert (made.look, made.steps) == (2000, (50, 100))


def test_six_looks_at_a_sample_can_be_paid_though_it_pads_more() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        lengths = [[int(n) for n in rng.gamma(5, 4, 400).clip(3, 128)] for _ in range(2)]
        work = [int(rng.integers(1800, 3600)) for _ in range(100)]
        counts = plan.rows(work, lengths, SETTINGS, fixed=2000)
        assert max(counts) < 400
        some = [
            [task[i] for i in rng.choice(400, count, replace=False)]
            for task, count in zip(lengths, counts, strict=True)
        ]
        assert len(plan.make(work, some, SETTINGS, fixed=2000).steps) == 2


def job(model, chosen: Selection, pool, batches, epochs: float) -> SimpleNamespace:
    selection.attach(model, chosen)
    moving = {n: p for n, p in model.network.named_parameters() if p.requires_grad}
    return SimpleNamespace(
        model=model,
        moving=moving,
        pool=SimpleNamespace(lengths=pool),
        batches=batches,
        training=SimpleNamespace(epochs=epochs),
    )


class Batches(list):
    epoch = 0


def test_a_trained_token_costs_what_its_backward_pass_reaches(home, tiny_start) -> None:
    model = models.load_with_head(tiny_start, home, "mood", ("a", "b"), 0)
    encoder = model.encoder_parameters()
    every = sum(p.numel() for p in encoder.values())
    top = frozenset(n for n in encoder if "layer.1." in n)
    moved = sum(encoder[n].numel() for n in top)
    whole = job(model, Selection(whole=frozenset(encoder)), [], Batches(), 1)
    assert plan.cost_of_a_trained_token(whole) == 3.0
    assert plan.cost_of_a_look(whole) == plan.LOOK
    above = job(model, Selection(whole=top), [], Batches(), 1)
    assert plan.cost_of_a_trained_token(above) == pytest.approx(1 + 1 / 3 + moved / every)


def test_the_work_of_every_update_is_counted_with_its_padding(home, tiny_start) -> None:
    model = models.load_with_head(tiny_start, home, "mood", ("a", "b"), 0)
    full = Selection(whole=frozenset(model.encoder_parameters()))
    made = job(model, full, [4, 2, 7], Batches([[0, 1], [2]]), 1.5)
    assert plan.training_work(made) == [48 + plan.UPDATE, 24 + plan.UPDATE, 48 + plan.UPDATE]
