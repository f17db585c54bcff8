import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from holdfast import models, rows, spec
from holdfast.errors import BadInput, HoldfastError
from holdfast.importance import assess, fisher, heatmap, levels, read
from holdfast.records import Artifact, Validated

LABELS = ("negative", "positive")


@dataclass
class World:
    home: Any
    start: Any
    data: list

    def run(self, elementwise=True, remember=(), start=None, data=None, examples=16, measure="fisher"):
        datasets = {"learn.train": rows.version(self.home, data or self.data)}
        for task in remember:
            datasets[f"remember.{task.name}.train"] = rows.version(self.home, self.data[::-2])
        validated = Validated(
            datasets=datasets,
            labels=LABELS,
            quarantined=0,
            expectations=(),
            competences=(),
            artifact=Artifact(kind="validation", digest="0"),
        )
        learn = spec.Learn(train="toy/train", head="mood")
        settings = spec.Assess(examples=examples, measure=measure)
        training = spec.Training(max_length=32)
        start = start or self.start
        return assess.assess(validated, start, settings, learn, remember, training, elementwise, self.home)


@pytest.fixture
def world(home, tiny_start, toy_rows):
    return World(home, tiny_start, toy_rows)


@pytest.fixture
def with_head(world, monkeypatch):
    """A start model that has the heads `mood` and `tone`, put together in memory."""
    from holdfast.records import HeadInfo

    real = models.load

    def load(start, home):
        model = real(start.model_copy(update={"heads": {}}), home)
        for seed, name in enumerate(start.heads):
            model.add_head(name, LABELS, seed)
        return model

    monkeypatch.setattr(models, "load", load)
    heads = {name: HeadInfo(labels=LABELS) for name in ("mood", "tone")}
    return world.start.model_copy(update={"heads": heads})


def old(name, head="mood"):
    return spec.Remember(name=name, train=f"{name}/train", valid="v", test="t", head=head)


def test_importance_is_gathered_as_means_to_tensors_heads_and_layers(world, home):
    assessed = world.run()
    found = read.load(home, assessed)
    weights = found.elementwise("task")
    assert assessed.examples == found.examples == 16 and assessed.measure == found.measure == "fisher"
    assert found.general is None and not (found.folder / "general.safetensors").exists()
    assert set(found.task["layer"]) == {"0", "1", "embeddings", "pooler"}
    assert set(found.task["head"]) == {f"{layer}.{head}" for layer in (0, 1) for head in range(4)}
    for name, value in found.task["tensor"].items():
        assert value == pytest.approx(weights[name].double().mean().item())
    pooler = torch.cat([v.flatten() for n, v in weights.items() if n.startswith("bert.pooler.")])
    assert found.task["layer"]["pooler"] == pytest.approx(pooler.double().mean().item())
    own = "bert.encoder.layer.1.attention.{}"
    slices = [weights[own.format(f"self.{p}.weight")][16:24].flatten() for p in ("query", "key", "value")]
    slices += [weights[own.format(f"self.{p}.bias")][16:24] for p in ("query", "key", "value")]
    slices += [weights[own.format("output.dense.weight")][:, 16:24].flatten()]
    assert found.task["head"]["1.2"] == pytest.approx(torch.cat(slices).double().mean().item())


def test_a_new_head_is_probed_first_and_the_encoder_alone_is_kept(world, home):
    weights = read.load(home, world.run()).elementwise("task")
    model = models.load_with_head(world.start, home, "mood", LABELS, 7)
    assert weights.keys() == model.encoder_parameters().keys()
    raw = fisher.true(model, [row["text"] for row in world.data], [0] * len(world.data), 32, 7)
    ratio = weights["bert.pooler.dense.weight"].sum() / raw["bert.pooler.dense.weight"].sum()
    assert not 0.9 < ratio < 1.1


def test_general_importance_is_the_mean_over_remembered_tasks_each_through_its_head(world, home, with_head):
    both = read.load(home, world.run(remember=(old("a"), old("b", "tone")), start=with_head, examples=1000))
    a = read.load(home, world.run(remember=(old("a"),), start=with_head, examples=1000))
    b = read.load(home, world.run(remember=(old("b", "tone"),), start=with_head, examples=1000))
    for name, value in both.elementwise("general").items():
        torch.testing.assert_close(value, (a.elementwise("general")[name] + b.elementwise("general")[name]) / 2)
    assert a.general["layer"] != b.general["layer"] != a.task["layer"]


def test_a_remembered_task_without_training_rows_counts_for_nothing(world, home, with_head):
    task = old("a").model_copy(update={"train": None})
    found = world.run(start=with_head)
    assert read.load(home, found).general is None
    assert task.train is None


def test_a_remembered_head_that_the_start_lacks_is_refused(world):
    with pytest.raises(BadInput, match="`a` is scored by the head `tone`"):
        world.run(remember=(old("a", "tone"),))


def test_a_missing_class_is_named(world):
    with pytest.raises(BadInput, match=r"`positive` has 0 rows in toy/train"):
        world.run(data=[row for row in world.data if row["label"] == "negative"])


def test_weights_are_kept_only_when_asked_for(world, home):
    found = read.load(home, world.run(elementwise=False))
    with pytest.raises(HoldfastError, match="kept no task importance"):
        found.elementwise("task")


@pytest.mark.parametrize("measure", ["empirical-fisher", "taylor", "activation"])
def test_every_measure_runs_and_differs(world, home, measure):
    found, usual = read.load(home, world.run(measure=measure)), read.load(home, world.run())
    assert found.measure == measure and found.task["tensor"].keys() == usual.task["tensor"].keys()
    assert found.task["tensor"] != usual.task["tensor"]
    assert all(np.isfinite(value) and value >= 0 for value in found.task["tensor"].values())


def test_equal_inputs_give_equal_bytes(world, home, with_head):
    first, second = (world.run(remember=(old("a"),), start=with_head) for _ in range(2))
    assert first == second
    folder = home.store.open(first.artifact)
    assert sorted(p.name for p in folder.iterdir()) == [
        "general.safetensors",
        "heatmap.png",
        "importance.json",
        "task.safetensors",
    ]
    assert json.loads((folder / "importance.json").read_text())["examples"] == 16
    assert all(value.dtype == torch.float32 for value in load_file(folder / "task.safetensors").values())


@pytest.mark.pictures
def test_the_heat_map_is_a_picture_of_the_table_without_metadata(world, home, with_head):
    found = world.run(remember=(old("a"),), start=with_head)
    data = (home.store.open(found.artifact) / "heatmap.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and b"tEXt" not in data and b"tIME" not in data
    table = heatmap.Table(["0", "1"], ["0", "all"], np.array([[1.0, 2.0], [3.0, 4.0]]), None)
    other = heatmap.Table(["0", "1"], ["0", "all"], np.array([[1.0, 2.0], [3.0, 9.0]]), None)
    assert heatmap.draw(table, "fisher") == heatmap.draw(table, "fisher") != heatmap.draw(other, "fisher")
    assert heatmap.draw(heatmap.Table(["0"], ["all"], np.array([[0.0]]), np.array([[np.nan]])), "fisher")


def test_the_table_has_heads_and_groups_of_tensors(make_model):
    model = make_model("bert")
    weights = {name: torch.ones_like(p) for name, p in model.encoder_parameters().items()}
    weights["bert.encoder.layer.1.intermediate.dense.weight"] *= 3
    weights["bert.encoder.layer.0.output.LayerNorm.bias"] *= 0
    table = heatmap.table(model, levels.gather(model, weights), None)
    assert table.rows == ["embeddings", "0", "1", "pooler"] and table.columns == ["0", "1", "2", "3", *heatmap._GROUPS]
    cell = lambda row, column: table.task[table.rows.index(row), table.columns.index(column)]  # noqa: E731
    assert cell("1", "mlp") == pytest.approx((2048 * 3 + 64 + 2048 + 32) / (2048 * 2 + 96))
    assert cell("0", "norms") == 0.75 and cell("1", "norms") == 1.0 and cell("embeddings", "norms") == 1.0
    assert cell("0", "attention") == cell("1", "2") == 1.0 and np.isnan(cell("pooler", "attention"))
    assert np.isnan(cell("embeddings", "0")) and cell("pooler", "all") == 1.0
