"""Which arms a comparison has, and what of the file is theirs."""

import pytest

from holdfast import spec
from holdfast.comparison import arms
from holdfast.errors import BadInput

OLD = {"name": "old", "train": "o.csv", "valid": "o.csv", "test": "o.csv"}
FILE = {
    "name": "f",
    "start": {"model": "base"},
    "learn": {"train": "a.csv"},
    "remember": [OLD],
    "parameters": {"circuit": 3},
    "anchors": [{"ewc": 2.0}],
    "assess": {"circuit": {"examples": 24}, "examples": 32},
    "control": {"looks": 3},
    "training": {"epochs": 2, "patience": 1},
}


def made(text, tmp_path, raw=FILE):
    (arm,) = arms.parse(text)
    return arms.pipeline(arm, raw, tmp_path / "f.yaml")


def test_a_list_is_split_outside_brackets():
    found = arms.parse("sft, psft:objective.psft.refresh=4+parameters.layers=[0,1] ,file:schedule={warmup: 0.2}")
    assert [arm.name for arm in found] == [
        "sft",
        "psft:objective.psft.refresh=4+parameters.layers=[0,1]",
        "file:schedule={warmup: 0.2}",
    ]
    assert found[1].settings == ("objective.psft.refresh=4", "parameters.layers=[0,1]")
    assert [arm.preset for arm in found] == ["sft", "psft", None]


@pytest.mark.parametrize(
    ("text", "said"),
    [("psff", "Did you mean `psft`"), ("sft,sft", "named twice"), (" , ", "no method is named")],
)
def test_a_wrong_list_is_refused(text, said):
    with pytest.raises(BadInput, match=said):
        arms.parse(text)


def test_an_arm_takes_the_data_and_training_but_no_axis_of_the_file(tmp_path):
    pipeline = made("psft:objective.psft.refresh=4", tmp_path)
    assert list(pipeline.parameters) == ["full"] and not pipeline.anchors
    assert pipeline.objective["psft"]["refresh"] == 4
    assert pipeline.assess.circuit is None and pipeline.assess.examples == 32
    assert pipeline.training.epochs == 2 and pipeline.training.patience is None
    assert not pipeline.control.enabled


def test_the_file_is_an_arm_too(tmp_path):
    pipeline = made("file", tmp_path)
    assert pipeline.parameters["circuit"]["heads"] == 3 and pipeline.anchors["ewc"]["strength"] == 2.0
    assert pipeline.assess.circuit.examples == 24 and not pipeline.control.enabled
    assert made("file:control.enabled=true", tmp_path).control.enabled
    assert FILE["control"] == {"looks": 3}, "the mapping itself stays as it is"


def test_an_arm_that_does_not_fit_the_file_says_so(tmp_path):
    with pytest.raises(BadInput, match="the arm `ewc`: `ewc` needs the Fisher information of old data"):
        made("ewc", tmp_path, {**FILE, "remember": []})


def test_baselines_fit_the_file_and_are_not_run_twice(tmp_path):
    path = tmp_path / "f.yaml"
    added, _ = arms.baselines(arms.parse("full,file"), FILE, path)
    names = [arm.name for arm in added]
    assert names[:3] == ["sft", "sft-kl", "replay"], "sft is what arms are compared with, though `full` is the same"
    added, notes = arms.baselines(arms.parse("sft,sft-kl"), {**FILE, "remember": [], "anchors": []}, path)
    assert not {"sft", "sft-kl", "replay"} & {arm.name for arm in added}
    assert any(note.startswith("the baseline `replay` is left out: the arm `replay`: ") for note in notes)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("learn.train=b.csv", "could not be compared"),
        ("training.epochs=9", "arms make equal updates"),
        ("training.batch=8", "arms make equal updates"),
        ("training.processes=2", "arms make equal updates"),
        ("training.learning_rate=1e-3", "times those of one grid .*--set training.learning_rate="),
        ("training.max_length=64", "arms read the same texts"),
        ("training.seed=8", "arms are tuned at the same seeds"),
    ],
)
def test_arms_have_data_updates_rates_and_seeds_of_the_file(tmp_path, setting, said):
    file = spec.parse(FILE, tmp_path / "f.yaml")
    arms.check_alike({text: made(text, tmp_path) for text in ("sft", "file", "sft:training.clip=0.5")}, file)
    with pytest.raises(BadInput, match=f"the arm `layernorm:{setting}` changes .*{said}"):
        arms.check_alike({text: made(text, tmp_path) for text in (f"layernorm:{setting}",)}, file)
