"""Combinations that depend on what the options say: which are refused as the file is read, and which are not."""

from pathlib import Path
from typing import Any

import pytest

from holdfast import spec
from holdfast.errors import BadInput


def parsed(folder: Path, **changes: Any) -> spec.Pipeline:
    raw = {"name": "t", "start": {"model": "x"}, "learn": {"train": "a.csv"}}
    return spec.parse({**raw, **changes}, folder / "t.yaml")


def refused(folder: Path, **changes: Any) -> str:
    with pytest.raises(BadInput) as caught:
        parsed(folder, **changes)
    return str(caught.value)


def test_a_judge_by_tests_goes_with_their_column(tmp_path: Path) -> None:
    learn = {"train": "a.csv", "tests": "tests"}
    made = parsed(tmp_path, task="generation", examples={"self": {"judge": "tests"}}, learn=learn)
    assert made.learn.tests == "tests" and made.examples["self"]["judge"] == "tests"


NO_LAYER_BELOW = [
    *("full", "layernorm", "embeddings", "houlsby", "ia3", "prefix", "prompt", "circuit", "lora"),
    *({"layers": [0, -1]}, {"layers": ["embeddings"]}, {"heads": ["1.3", "0.2"]}, {"lora": {"layers": [0, 3]}}),
    [{"layers": [-1]}, "layernorm"],
]
LAYERS_BELOW = [
    *({"layers": [-1]}, {"layers": {"count": 1}}, {"layers": ["*.attention.*"]}, {"heads": ["1.3"]}, {"heads": 2}),
    *({"lora": {"layers": [-1]}}, {"lora": {"targets": ["3.attention.self.query"]}}, "mask", "auto", "spt"),
    {"circuit": {"layernorm": False}},
]


@pytest.mark.parametrize("parameters", NO_LAYER_BELOW, ids=str)
def test_layers_that_run_once_are_refused_where_there_are_none(parameters: Any, tmp_path: Path) -> None:
    assert "lies none" in refused(tmp_path, parameters=parameters, training={"prefix_cache": True})
    assert parsed(tmp_path, parameters=parameters, training={"prefix_cache": "auto"}).parameters


@pytest.mark.parametrize("parameters", LAYERS_BELOW, ids=str)
def test_layers_that_run_once_are_taken_where_there_may_be_some(parameters: Any, tmp_path: Path) -> None:
    assert parsed(tmp_path, parameters=parameters, training={"prefix_cache": True}).training.prefix_cache == "on"


@pytest.mark.parametrize(
    "parameters", ["layernorm", ["layernorm", "embeddings"], {"layers": [0, 1]}, "prefix"], ids=str
)
def test_unfreezing_goes_with_what_lies_in_every_layer(parameters: Any, tmp_path: Path) -> None:
    assert list(parsed(tmp_path, parameters=parameters, schedule="unfreezing").schedule) == ["unfreezing"]


@pytest.mark.parametrize("parameters", ["prompt", "embeddings"])
@pytest.mark.parametrize("task", ["classification", "generation"])
def test_unfreezing_is_refused_for_what_lies_at_one_depth(parameters: str, task: str, tmp_path: Path) -> None:
    said = refused(tmp_path, task=task, parameters=parameters, schedule=["discriminative", "unfreezing"])
    assert "`unfreezing` goes layer by layer" in said
