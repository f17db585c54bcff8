"""Rates adjusted on the way: the rule by hand, and the running importance against one computed step by step."""

import numpy as np
import pytest
import torch

from holdfast import spec
from holdfast.errors import HoldfastError
from holdfast.importance.read import Importance
from holdfast.schedules import importance_scaled
from holdfast.training.adjusting import Adjuster, general_of
from holdfast.training.slices import Slices

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
    steps, adjuster = optimizer(moving), Adjuster(importance_scaled, OPTIONS, GENERAL)
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
    steps, adjuster = optimizer(moving), Adjuster(importance_scaled, OPTIONS, GENERAL)
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

    whole = Adjuster(importance_scaled, OPTIONS, GENERAL)
    wanted = run(whole, range(5))
    half, rest = (Adjuster(importance_scaled, OPTIONS, GENERAL) for _ in range(2))
    run(half, range(3))
    rest.running.update({name: tensor.clone() for name, tensor in half.running.items()})
    assert run(rest, range(3, 5)) == wanted


@pytest.fixture
def halves(tmp_path) -> tuple[dict[str, torch.Tensor], Importance]:
    """Masks of a tenth of one tensor's entries and of two rows of another's, and general importances per weight."""
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(4)
    each = {name: torch.rand(10, 10, generator=generator) for name in ("a.weight", "b.weight", "c.weight")}
    save_file(each, tmp_path / "general.safetensors")
    means = {name: float(values.mean()) for name, values in each.items()}
    scattered, rows = torch.rand(100, generator=generator) < 0.1, torch.zeros(10, 10, dtype=torch.bool)
    rows[[2, 7]] = True
    masks = {"b.weight": scattered.view(10, 10), "c.weight": rows}
    return masks, Importance("fisher", 1, {}, {"tensor": means, "head": {}, "layer": {}}, tmp_path)


def test_a_tensor_that_moves_in_part_counts_with_the_entries_that_move(halves) -> None:
    """Every moving entry has the gradient 1: the running means are 1, however few of a tensor's entries move."""
    masks, importance = halves
    moving = {name: torch.nn.Parameter(torch.zeros(10, 10)) for name in ("a.weight", "b.weight", "c.weight")}
    stepped = Slices(moving, masks).stepped
    steps = torch.optim.SGD([{"params": [stepped[name]], "names": [name]} for name in stepped], lr=1.0)
    adjuster = Adjuster(importance_scaled, OPTIONS, general_of(importance, masks))
    sum(parameter.sum() for parameter in moving.values()).backward()
    adjuster.before_step(steps, [1.0, 1.0, 1.0])
    assert adjuster.running["mean"].tolist() == pytest.approx([0.1, 0.1, 0.1])  # 1 - memory is 0.1
    each = importance.elementwise("general")
    masks = {"a.weight": torch.ones(10, 10, dtype=torch.bool), **masks}
    general = np.array([each[name][masks[name]].numpy().mean() for name in stepped])
    sizes = np.array([int(masks[name].sum()) for name in stepped])
    wanted = ((sizes * general).sum() / sizes.sum() / general) ** 0.5
    assert [group["lr"] for group in steps.param_groups] == pytest.approx(wanted.tolist(), rel=1e-5)


def test_whole_tensors_keep_the_very_numbers_of_the_assessment(halves) -> None:
    masks, importance = halves
    found = general_of(importance, masks)
    assert general_of(importance, {}) == importance.general["tensor"]
    assert found["a.weight"] == importance.general["tensor"]["a.weight"]
    assert found["b.weight"] != importance.general["tensor"]["b.weight"]


def test_a_part_without_importances_per_weight_is_refused(halves, tmp_path) -> None:
    masks, importance = halves
    (tmp_path / "general.safetensors").unlink()
    with pytest.raises(HoldfastError, match="kept no general importance per weight"):
        general_of(importance, masks)


@pytest.mark.parametrize(
    ("parameters", "schedule", "kept"),
    [
        ({"heads": 2}, "importance-scaled", True),
        ({"mask": {"by": "random"}}, "importance-scaled", True),
        ({"heads": 2}, "plain", False),
        ({"layers": [0]}, "importance-scaled", False),
    ],
)
def test_importances_per_weight_are_kept_where_rates_weigh_a_part_of_a_tensor(
    tmp_path, parameters, schedule, kept
) -> None:
    old = [{"name": "old", "train": "o.csv", "valid": "v.csv", "test": "t.csv", "head": "mood"}]
    raw = {"name": "t", "start": {"model": "x"}, "learn": {"train": "a.csv", "head": "mood"}, "remember": old}
    found = spec.parse({**raw, "parameters": parameters, "schedule": schedule}, tmp_path / "p.yaml")
    assert found.needs_elementwise_importance() is kept
