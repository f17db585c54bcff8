"""Rates adjusted on the way: the rule by hand, and the running importance against one computed step by step."""

import numpy as np
import pytest
import torch

from holdfast.schedules import importance_scaled
from holdfast.training.adjusting import Adjuster

OPTIONS = importance_scaled.Options(memory=0.9, power=0.5, limit=3)


def test_the_rule_by_hand() -> None:
    found = importance_scaled.adjust([4.0, 1.0, 0.04, 100.0], [1.0, 4.0, 4.0, 1.0], OPTIONS)
    assert found == pytest.approx([2.0, 0.5, 1 / 3, 3.0])
    assert importance_scaled.adjust([0.0, 1.0, 0.0], [1.0, 0.0, 0.0], OPTIONS) == pytest.approx([1 / 3, 3.0, 1.0])


@pytest.fixture
def moving() -> dict[str, torch.nn.Parameter]:
    sizes = {"low.weight": (2, 3), "low.bias": (3,), "high.weight": (4,), "head.weight": (2,)}
    return {name: torch.nn.Parameter(torch.zeros(size)) for name, size in sizes.items()}


def optimizer(moving: dict[str, torch.nn.Parameter]) -> torch.optim.SGD:
    names = [["head.weight"], ["high.weight"], ["low.weight", "low.bias"]]
    return torch.optim.SGD([{"params": [moving[n] for n in own], "names": own} for own in names], lr=1.0)


GENERAL = {"low.weight": 1.0, "low.bias": 2.0, "high.weight": 3.0}


def test_rates_follow_the_running_importance(moving) -> None:
    steps, adjuster = optimizer(moving), Adjuster(importance_scaled, OPTIONS, moving, GENERAL)
    generator, history = np.random.default_rng(2), []
    general = {"high": 3.0, "low": (6 * 1.0 + 3 * 2.0) / 9}
    for _ in range(3):
        for parameter in moving.values():
            parameter.grad = torch.from_numpy(generator.standard_normal(parameter.shape)).float()
        low = [*moving["low.weight"].grad.flatten().tolist(), *moving["low.bias"].grad.tolist()]
        high = moving["high.weight"].grad.tolist()
        history.append({"low": np.mean(np.square(low)), "high": np.mean(np.square(high))})
        adjuster.before_step(steps, [0.5, 0.2, 0.1])
    weights = np.array([0.9 ** (2 - i) for i in range(3)])
    task = {part: float((weights * [h[part] for h in history]).sum() / weights.sum()) for part in general}
    mean = {name: (4 * own["high"] + 9 * own["low"]) / 13 for name, own in (("task", task), ("general", general))}
    ratios = {part: (task[part] / mean["task"]) / (general[part] / mean["general"]) for part in general}
    assert min(ratios.values()) > 1 / 9 and max(ratios.values()) < 9, "the limits are not what is seen here"
    found = [group["lr"] for group in steps.param_groups]
    assert found == pytest.approx([0.5, 0.2 * ratios["high"] ** 0.5, 0.1 * ratios["low"] ** 0.5], rel=1e-5)


def test_what_is_frozen_keeps_its_rate_and_learns_nothing_of_itself(moving) -> None:
    steps, adjuster = optimizer(moving), Adjuster(importance_scaled, OPTIONS, moving, GENERAL)
    moving["high.weight"].grad = torch.ones(4)
    adjuster.before_step(steps, [0.5, 0.2, 0.1])
    assert [group["lr"] for group in steps.param_groups] == pytest.approx([0.5, 0.2, 0.1])
    assert adjuster.running["seen"].tolist() == [0, 1, 0]


def test_what_was_kept_goes_on(moving) -> None:
    def run(adjuster: Adjuster, seeds: range) -> list[float]:
        steps = optimizer(moving)
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            for parameter in moving.values():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            adjuster.before_step(steps, [1.0, 1.0, 1.0])
        return [group["lr"] for group in steps.param_groups]

    whole = Adjuster(importance_scaled, OPTIONS, moving, GENERAL)
    wanted = run(whole, range(5))
    half, rest = (Adjuster(importance_scaled, OPTIONS, moving, GENERAL) for _ in range(2))
    run(half, range(3))
    rest.running.update({name: tensor.clone() for name, tensor in half.running.items()})
    assert run(rest, range(3, 5)) == wanted
