"""Looks at a model on `valid`: what they count, and which one is best."""

import json

import numpy as np
import pytest

from holdfast import inference, models, rows, spec
from holdfast.forgetting import intervals, watch
from holdfast.forgetting.watch import Look, Seen
from holdfast.records import Start, Validated

LABELS = ("negative", "positive")
RECIPE = spec.Recipe(
    examples={"gold": {}},
    objective={"sft": {}},
    anchors={},
    schedule={"plain": {}},
    training=spec.Training(max_length=16, precision="fp32"),
    head="mood",
)


def look(gain: float, *drops: float, loss: float = 1.0, margin: float = 0.05) -> Look:
    old = [Seen(f"old{i}", 100, 0.9, 0.9 - drop, 0.3, 0.4, margin) for i, drop in enumerate(drops)]
    return Look(Seen("target", 100, 0.3, 0.3 + gain, 1.2, loss), tuple(old))


def test_a_contract_is_kept_up_to_half_its_margin() -> None:
    assert look(0.1, 0.025).kept
    assert look(0.1, -0.2, 0.02).kept
    assert not look(0.1, 0.03).kept
    assert not look(0.1, 0.0, 0.03).kept
    assert look(0.1, 0.03, 0.05).violation == pytest.approx(0.5)


def flipped(negative: int, positive: int, n: int, margin: float = 0.05) -> Seen:
    return Seen("old", n, 0.9, 0.9 - (negative - positive) / n, 0.3, 0.4, margin, (negative, positive))


def test_a_drop_that_is_too_uncertain_is_not_kept() -> None:
    assert flipped(2, 2, 100).excess == 0
    assert flipped(10, 9, 100).excess > 0, "one point, but 19 of 100 answers changed"
    assert flipped(100, 90, 1000).excess == 0
    bound = intervals.drop_upper(10, 9, 100, 0.9)
    assert flipped(10, 9, 100).excess == pytest.approx((bound - 0.05) / 0.05)


def test_where_no_bound_could_show_it_the_drop_alone_decides() -> None:
    assert flipped(0, 0, 20).excess == 0, "20 rows could not show a margin of 5 points"
    assert flipped(1, 1, 20).excess == 0
    assert flipped(1, 0, 20).excess > 0


def test_the_largest_gain_that_keeps_every_contract_is_best() -> None:
    assert watch.best([look(0.1, 0.0), look(0.2, 0.02), look(0.4, 0.03)]) == 1
    assert watch.best([look(-0.1, 0.0), look(0.4, 0.03)]) == 0


def test_equal_gains_go_by_log_loss_and_equal_looks_to_the_first() -> None:
    assert watch.best([look(0.2, 0.0, loss=1.0), look(0.2, 0.02, loss=0.9)]) == 1
    assert watch.best([look(0.2, 0.0), look(0.2, 0.0)]) == 0


def test_where_none_keeps_every_contract_the_least_violating_is_best_and_says_so() -> None:
    looks = [look(0.4, 0.1), look(0.1, 0.03), look(0.2, 0.0, 0.04)]
    assert watch.best(looks) == 1
    assert not looks[1].kept


def test_without_remembered_tasks_every_look_keeps_its_contracts() -> None:
    assert look(-1.0).kept


def test_a_look_comes_back_from_its_document() -> None:
    one = Look(look(0.2).target, (flipped(3, 1, 100), flipped(0, 0, 20)))
    assert watch.from_document(json.loads(json.dumps(one.document()))) == one


def watched(home, start: Start, toy_rows, **limits: int):
    datasets = {"learn.train": rows.version(home, toy_rows[::2]), "learn.valid": rows.version(home, toy_rows[1::4])}
    datasets["remember.old.valid"] = rows.version(home, toy_rows[3::4])
    artifact = datasets["learn.train"].artifact
    validated = Validated(
        datasets=datasets, labels=LABELS, quarantined=0, expectations=(), competences=(), artifact=artifact
    )
    model = models.load_with_head(start, home, "mood", LABELS, 3)
    old = spec.Remember(name="old", valid="a.csv", test="a.csv", head="mood", margin=0.1)
    return model, watch.Watch(model, start, validated, RECIPE, (old,), home, limits), toy_rows


def test_a_look_is_accuracy_and_log_loss_computed_by_hand(home, tiny_start: Start, toy_rows) -> None:
    model, watching, _ = watched(home, tiny_start, toy_rows)
    seen = watching.look()
    for task, items in ((seen.target, toy_rows[1::4]), (seen.remembered[0], toy_rows[3::4])):
        logits = inference.logits(model, rows.texts(items), max_length=16, precision="fp32").astype(float)
        gold = rows.label_ids(items, LABELS)
        chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        assert task.n == len(items)
        assert task.flips is not None
        assert (task.flips[1] - task.flips[0]) / task.n == pytest.approx(task.after - task.before)
        assert task.after == np.mean(logits.argmax(1) == gold)
        assert task.loss == pytest.approx(-np.mean([np.log(c[g]) for c, g in zip(chances, gold, strict=True)]))
    assert (seen.target.margin, seen.remembered[0].margin) == (None, 0.1)
    assert seen.target.before == 0.5, "a new head is compared with the most frequent label"
    assert seen.target.loss_before == pytest.approx(np.log(2))


def test_looks_are_repeatable_and_leave_the_model_as_it_was(home, tiny_start: Start, toy_rows) -> None:
    model, watching, _ = watched(home, tiny_start, toy_rows)
    model.network.train()
    model.add_head("other", ("a", "b", "c"), 1)
    first = watching.look()
    assert watching.look() == first
    assert model.head == "other"
    assert model.network.training


def test_a_sample_has_every_label_in_its_share_and_is_always_the_same(home, tiny_start: Start, toy_rows) -> None:
    _, watching, _ = watched(home, tiny_start, toy_rows, **{"learn.valid": 6})
    target, old = watching.texts()
    assert len(target) == 6
    assert len(old) == 12
    labels = {row["text"]: row["label"] for row in toy_rows}
    assert sorted(labels[text] for text in target) == ["negative"] * 3 + ["positive"] * 3
    assert watching.look().target.n == 6
    assert watched(home, tiny_start, toy_rows, **{"learn.valid": 6})[1].texts() == [target, old]


def test_stratified_positions() -> None:
    labels = ["a"] * 60 + ["b"] * 30 + ["c"] * 10
    found = watch.stratified(labels, 11, seed=0)
    assert [sum(labels[i] == name for i in found) for name in "abc"] == [7, 3, 1]
    assert found == sorted(set(found)) == watch.stratified(labels, 11, seed=0)
    assert found != watch.stratified(labels, 11, seed=1)
