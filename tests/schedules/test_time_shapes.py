"""The time shapes against closed forms and transformers' schedulers, and the rule that only one may be chosen."""

import math
from pathlib import Path

import pytest
import torch
import transformers

from holdfast import spec
from holdfast.errors import BadInput
from holdfast.schedules import plain, restarts, slanted, warmup

TOTAL = 40


def rates(make) -> list[float]:
    """The rates that a scheduler of transformers sets before each of `TOTAL` updates."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    found = []
    for _ in range(TOTAL):
        found.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return found


def ours(module, **options) -> list[float]:
    return [module.factor(step, TOTAL, module.Options(**options)) for step in range(TOTAL)]


def test_plain_is_transformers_linear_schedule() -> None:
    theirs = rates(lambda o: transformers.get_linear_schedule_with_warmup(o, 0, TOTAL))
    assert ours(plain) == pytest.approx(theirs)


def test_plain_can_be_constant() -> None:
    assert ours(plain, decay="constant") == [1.0] * TOTAL


def test_warmup_is_transformers_linear_schedule_with_warmup() -> None:
    theirs = rates(lambda o: transformers.get_linear_schedule_with_warmup(o, 10, TOTAL))
    assert ours(warmup, share=0.25) == pytest.approx(theirs)


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_restarts_are_transformers_cosine_with_hard_restarts(share: float) -> None:
    theirs = rates(
        lambda o: transformers.get_cosine_with_hard_restarts_schedule_with_warmup(o, int(share * TOTAL), TOTAL, 3)
    )
    assert ours(restarts, cycles=3, warmup=share) == pytest.approx(theirs)


def test_slanted_is_the_published_formula_where_its_cut_is_whole() -> None:
    total, share, ratio = 200, 0.1, 32
    cut = 20
    for t in range(total):
        p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / share - 1))
        expected = (1 + p * (ratio - 1)) / ratio
        assert slanted.factor(t, total, slanted.Options()) == pytest.approx(expected, abs=1e-12)


def test_slanted_starts_at_one_thirtysecond_peaks_at_the_cut_and_comes_back() -> None:
    values = [slanted.factor(t, 200, slanted.Options()) for t in range(201)]
    assert values[0] == values[200] == pytest.approx(1 / 32)
    assert values.index(max(values)) == 20
    assert max(values) == pytest.approx(1.0)


@pytest.mark.parametrize("total", [1, 7, 19, 39, 101])
def test_slanted_never_goes_below_its_smallest_rate(total: int) -> None:
    values = [slanted.factor(t, total, slanted.Options()) for t in range(total)]
    assert min(values) >= 1 / 32 - 1e-12
    assert max(values) <= 1.0


def test_the_published_slanted_formula_would_go_negative() -> None:
    t, cut, share = 18, math.floor(19 * 0.1), 0.1
    assert 1 + (1 - (t - cut) / (cut * (1 / share - 1))) * 31 < 0


def pipeline(schedule, tmp_path: Path) -> spec.Pipeline:
    raw = {"name": "t", "start": {"model": "x"}, "learn": {"train": "a.csv"}, "schedule": schedule}
    return spec.parse(raw, tmp_path / "p.yaml")


def test_two_time_shapes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="`warmup` and `slanted` both say"):
        pipeline(["warmup", "discriminative", "slanted"], tmp_path)


def test_one_time_shape_composes_with_depth_and_unfreezing(tmp_path: Path) -> None:
    assert list(pipeline(["discriminative", "slanted", "unfreezing"], tmp_path).schedule) == [
        "discriminative",
        "slanted",
        "unfreezing",
    ]
