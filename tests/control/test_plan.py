"""What looks cost and how many are paid for, counted by hand."""

from types import SimpleNamespace

import pytest

from holdfast import models, selection, spec
from holdfast.control import plan
from holdfast.selection import Selection

SETTINGS = spec.Control()


def test_padded_tokens_are_those_of_batches_of_64_by_length() -> None:
    assert plan.padded([3, 5, 4]) == 15
    assert plan.padded([10] + [2] * 64) == 10 * 64 + 2


def test_everything_is_looked_at_where_that_can_be_paid() -> None:
    work, lengths = [300] * 100, [[10] * 50, [10] * 50]
    assert plan.wanted(SETTINGS) == 8
    assert plan.rows(work, lengths, SETTINGS) == [50, 50]
    made = plan.make(work, lengths, SETTINGS)
    assert (made.look, made.steps) == (1000, (25, 50, 75, 100))
    assert (made.allowed(100), made.allowed(50)) == (9000, 4500)


def test_fewer_rows_are_looked_at_where_not_all_can_be_paid() -> None:
    work, lengths = [100] * 100, [[10] * 100, [10] * 200]
    rows = plan.rows(work, lengths, SETTINGS)
    assert rows == [40, 40], "0.3 * 10000 / (8 * 3000) is an eighth, and a handful of rows decides nothing"
    assert plan.rows([500] * 100, lengths, SETTINGS) == [62, 125]


def test_fewer_looks_are_planned_before_there_are_too_few_rows() -> None:
    made = plan.make([100] * 100, [[10] * 40, [10] * 40], SETTINGS)
    assert made.steps == (100,), "three looks can be paid: the start model, the end, one candidate"
    assert plan.make([160] * 100, [[10] * 40, [10] * 40], SETTINGS).steps == (50, 100)
    assert plan.make([50] * 100, [[10] * 40, [10] * 40], SETTINGS).steps == ()


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
    above = job(model, Selection(whole=top), [], Batches(), 1)
    assert plan.cost_of_a_trained_token(above) == pytest.approx(1 + 1 / 3 + moved / every)


def test_the_work_of_every_update_is_counted_with_its_padding(home, tiny_start) -> None:
    model = models.load_with_head(tiny_start, home, "mood", ("a", "b"), 0)
    full = Selection(whole=frozenset(model.encoder_parameters()))
    made = job(model, full, [4, 2, 7], Batches([[0, 1], [2]]), 1.5)
    assert plan.training_work(made) == [24, 21, 24]
