"""The stage: from an assessment to a plan."""

import json

import pytest
import torch

from holdfast import choices, models, rows, selection, spec
from holdfast.errors import BadInput
from holdfast.importance import assess
from holdfast.records import Artifact, Validated

LABELS = ("negative", "positive")


@pytest.fixture
def assessed(home, tiny_start, toy_rows):
    validated = Validated(
        datasets={"learn.train": rows.version(home, toy_rows)},
        labels=LABELS,
        quarantined=0,
        expectations=(),
        competences=(),
        artifact=Artifact(kind="validation", digest="0"),
    )
    learn, training = spec.Learn(train="toy/train", head="mood"), spec.Training(max_length=32)
    return assess.assess(validated, tiny_start, spec.Assess(examples=16), learn, (), training, True, home)


@pytest.fixture
def size(tiny_start, home):
    return sum(parameter.numel() for parameter in models.load(tiny_start, home).network.base_model.parameters())


def select(assessed, start, home, raw):
    parsed = choices.parse("parameters", raw, "parameters")
    return selection.select(assessed, start, parsed, "mood", LABELS, 7, home)


def test_the_plan_counts_what_moves(assessed, tiny_start, home, size):
    found = select(assessed, tiny_start, home, {"heads": 3, "layernorm": True})
    plan = json.loads((home.store.open(found.artifact) / "plan.json").read_text())
    kept = selection.load(home.store.open(found.artifact))
    assert found.moved == plan["moved"] == sum(plan["by_tensor"].values()) == sum(plan["by_part"].values())
    assert found.moved == 3 * (4 * 8 * 32 + 3 * 8) + 5 * 2 * 32
    assert found.total == size and found.share == found.moved / found.total and found.head == 2 * 32 + 2
    assert found.names[:3] == kept.parts[:3] and all(name.startswith("head ") for name in found.names[:3])
    assert found.names[3] == "all 5 layer norms" and plan["by_part"]["embeddings"] == 64
    assert "task importance alone" in plan["notes"][0]
    assert kept.seed == 7 and sum(int(m.sum()) for m in kept.partial.values()) == 3 * (4 * 8 * 32 + 3 * 8)


@pytest.mark.parametrize("raw", ["full", "lora", {"mask": 0.005}, {"layers": {"count": 1}}, "embeddings"])
def test_every_choice_gives_the_same_plan_twice(assessed, tiny_start, home, raw):
    first, second = (select(assessed, tiny_start, home, raw) for _ in range(2))
    assert first == second and 0 < first.moved <= first.total and len(first.names) <= 8


def test_the_mask_follows_the_measured_importance(assessed, tiny_start, home, size):
    found = select(assessed, tiny_start, home, {"mask": 0.005})
    kept = selection.load(home.store.open(found.artifact))
    from holdfast.importance import read

    task = read.load(home, assessed).elementwise("task")
    inside = torch.cat([task[name][mask] for name, mask in kept.partial.items()])
    outside = torch.cat([task[n][~kept.partial[n]] if n in kept.partial else task[n].flatten() for n in task])
    assert found.moved == len(inside) == round(0.005 * size) and inside.min() >= outside.max()


def test_everything_where_a_part_was_meant_is_refused(assessed, tiny_start, home, size):
    with pytest.raises(BadInput, match=f"all {size} weights"):
        select(assessed, tiny_start, home, {"layers": [0, 1, "pooler"], "embeddings": True})
