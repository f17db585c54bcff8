"""Rates per depth and gradual unfreezing: by themselves, and as the trainer's parameter groups."""

import pytest
import torch

from holdfast import models
from holdfast.home import Home
from holdfast.records import Start
from holdfast.schedules import discriminative, unfreezing
from holdfast.training import depths, rates


def test_each_layer_has_the_rate_of_the_one_above_over_decay() -> None:
    scales = [discriminative.scale(depth, discriminative.Options()) for depth in range(4)]
    assert scales == pytest.approx([1, 1 / 2.6, 1 / 2.6 / 2.6, 1 / 2.6 / 2.6 / 2.6])


def test_one_more_group_per_epoch() -> None:
    options = unfreezing.Options()
    moving = [[order for order in range(4) if not unfreezing.frozen(order, epoch, options)] for epoch in range(4)]
    assert moving == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3]]


def test_two_more_groups_per_epoch() -> None:
    options = unfreezing.Options(groups=2)
    assert [order for order in range(6) if not unfreezing.frozen(order, 1, options)] == [0, 1, 2]


@pytest.fixture
def model(home: Home, tiny_start: Start) -> models.Model:
    return models.load_with_head(tiny_start, home, "mood", ("a", "b"), seed=1)


def test_depths_run_from_the_head_down_to_the_embeddings(model: models.Model) -> None:
    names = dict(model.network.named_parameters())
    found = depths.of_parameters(model, list(names))
    by_part = {
        "classifier.weight": 0,
        "bert.pooler.dense.weight": 0,
        "bert.encoder.layer.1.output.dense.weight": 1,
        "bert.encoder.layer.0.attention.self.query.bias": 2,
        "bert.embeddings.word_embeddings.weight": 3,
    }
    assert {name: found[name] for name in by_part} == by_part


def test_groups_get_the_scaled_rates_and_follow_the_time_shape(model: models.Model) -> None:
    moving = dict(model.network.named_parameters())
    chosen = {"discriminative": {"decay": 2.0}, "warmup": {"share": 0.5}}
    schedule = rates.Schedule(chosen, depths.of_parameters(model, list(moving)))
    optimizer = rates.optimizer(moving, schedule, 0.8, 0.1, decayed={"classifier.weight"})
    scheduler = rates.scheduler(optimizer, schedule, total=4)
    at_start = {group["initial_lr"] for group in optimizer.param_groups}
    assert at_start == {0.8, 0.4, 0.2, 0.1}
    optimizer.step()
    scheduler.step()
    assert {group["lr"] for group in optimizer.param_groups} == {0.4, 0.2, 0.1, 0.05}


def test_only_the_named_parameters_decay(model: models.Model) -> None:
    moving = dict(model.network.named_parameters())
    schedule = rates.Schedule({}, depths.of_parameters(model, list(moving)))
    optimizer = rates.optimizer(moving, schedule, 0.8, 0.1, decayed={"classifier.weight"})
    decays = {name: group["weight_decay"] for group in optimizer.param_groups for name in group["names"]}
    assert decays.pop("classifier.weight") == 0.1
    assert set(decays.values()) == {0.0}


def test_unfreezing_counts_only_groups_that_move(model: models.Model) -> None:
    names = ["classifier.weight", "bert.encoder.layer.0.output.dense.weight", "bert.embeddings.LayerNorm.weight"]
    schedule = rates.Schedule({"unfreezing": {"groups": 1}}, depths.of_parameters(model, names))
    assert [schedule.frozen(epoch) for epoch in range(3)] == [set(names[1:]), set(names[2:]), set()]


def test_without_a_time_shape_the_rate_falls_linearly() -> None:
    schedule = rates.Schedule({"discriminative": {"decay": 2.6}}, {"w": 0})
    assert [schedule.factor(step, 4) for step in range(4)] == [1.0, 0.75, 0.5, 0.25]
    assert torch.tensor(schedule.scale(2)) == pytest.approx(2.6**-2)
