"""`holdfast methods` says what the validators say."""

import json
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest

from holdfast import choices, compatibility, methods, spec, support
from holdfast.errors import BadInput
from holdfast.support import Choice

LEARN = {"name": "t", "start": {"model": "x"}, "learn": {"train": "a.csv"}}


def test_every_choice_by_itself_is_accepted() -> None:
    assert {str(choice): reason for choice in support.every() if (reason := support.answer(choice).reason)} == {}


def test_choices_of_one_task_say_so() -> None:
    found = {(str(choice), task): why for choice, said in support.alone().items() for task, why in said.items() if why}
    assert {place: why.partition(" ")[0] for place, why in found.items()} == {
        ("examples.pseudo-labels", "generation"): "`pseudo-labels`",
        ("examples.self", "classification"): "`self`",
        ("parameters.auto", "generation"): "`auto`",
        ("anchors.lwf", "generation"): "`lwf`",
    }


@pytest.mark.slow
def test_every_pair_is_asked_for() -> None:
    every = [Choice(axis, name) for axis in choices.AXES for name in choices.names(axis)]
    found = support.pairs()
    assert list(found) == list(combinations(every, 2))
    lora, ewc, psft = Choice("parameters", "lora"), Choice("anchors", "ewc"), Choice("objectives", "psft")
    assert found[lora, ewc].reason.startswith("`ewc` anchors the start model's own weights")
    assert found[lora, psft] == found[psft, ewc] == support.Answer(("classification", "generation"), None)
    own, lwf = Choice("examples", "self"), Choice("anchors", "lwf")
    assert found[own, ewc].tasks == ("generation",) and found[psft, lwf].tasks == ("classification",)
    assert found[own, lwf].reason == "no task takes both: `self` in generation, `lwf` in classification"


def test_a_pair_is_refused_with_the_reason_of_the_task_that_takes_each_choice() -> None:
    own, gold = Choice("examples", "self"), Choice("examples", "gold")
    assert support.answer(gold, own).reason.startswith("`self` takes the place of the gold answers")
    assert support.answer(own, remembered=False) == support.Answer(("generation",), None)


def test_a_new_rule_is_seen_without_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    def rule(pipeline: spec.Pipeline) -> str | None:
        return "not today" if "gem" in pipeline.objective and "mask" in pipeline.parameters else None

    pair = (Choice("objectives", "gem"), Choice("parameters", "mask"))
    assert support.answer(*pair).reason is None
    monkeypatch.setattr(compatibility, "RULES", (*compatibility.RULES, ("objective", rule)))
    assert support.answer(*pair) == support.Answer((), "not today")
    assert support.answer(pair[0]).reason is None


def test_a_rule_of_one_task_leaves_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def rule(pipeline: spec.Pipeline) -> str | None:
        wanted = "gem" in pipeline.objective and "mask" in pipeline.parameters
        return "not there" if wanted and pipeline.task == "classification" else None

    monkeypatch.setattr(compatibility, "RULES", (*compatibility.RULES, ("objective", rule)))
    found = support.answer(Choice("objectives", "gem"), Choice("parameters", "mask"))
    assert found == support.Answer(("generation",), None)


def test_what_needs_old_data_is_found() -> None:
    found = {str(choice) for choice in support.needs_old_data()}
    assert {"examples.replay", "anchors.ewc"} <= found
    assert not {"anchors.kl", "objective.target", "parameters.full"} & found


def test_every_selection_says_which_layers_run_once() -> None:
    found = {str(choice): said for choice, said in support.below().items()}
    assert {f"parameters.{name}" for name in choices.names("parameters")} | {"schedule.unfreezing"} == set(found)
    for name in ("full", "layernorm", "embeddings", "prefix", "prompt"):
        assert found[f"parameters.{name}"].startswith("nothing")


@pytest.mark.parametrize("name", list(methods.PRESETS))
def test_every_preset_is_a_file_that_can_be_read(name: str) -> None:
    old = {"name": "old", "train": "b.csv", "valid": "b.csv", "test": "b.csv"}
    generates = {"task": "generation"} if "self" in methods.PRESETS[name].get("examples", []) else {}
    pipeline = spec.parse({**LEARN, **generates, "method": name, "remember": [old]}, Path("t.yaml"))
    assert pipeline.method == name
    assert {key: list(getattr(pipeline, key)) for key in methods.PRESETS[name]} == {
        key: [value] if isinstance(value, str) else list(value) for key, value in methods.PRESETS[name].items()
    }


@pytest.mark.parametrize("objective", ["kd", "hybrid-kd", "target"])
def test_a_base_cannot_teach_classes(objective: str) -> None:
    raw = {**LEARN, "objective": {objective: {"teacher": "all-MiniLM-L6-v2"}}}
    with pytest.raises(BadInput, match="a registered version, not the base `all-MiniLM-L6-v2`"):
        spec.parse(raw, Path("t.yaml"))
    raw["objective"] = {objective: {"teacher": "models:/english@champion"}}
    assert spec.parse(raw, Path("t.yaml")).objective[objective]["teacher"] == "models:/english@champion"


def test_distillation_without_a_teacher_is_refused() -> None:
    with pytest.raises(BadInput, match=r"objective\.kd\.teacher`: is missing"):
        spec.parse({**LEARN, "objective": "kd"}, Path("t.yaml"))


@pytest.mark.slow
def test_the_command_prints_the_presets_and_the_pairs() -> None:
    command = [sys.executable, "-c", "from flows.cli import main; main()", "methods"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["presets"]["target-sft"]["objective"] == "target"
    assert len(found["pairs"]) == len(support.pairs())
    refused = [entry for entry in found["pairs"] if not entry["works"]]
    assert refused and all(entry["reason"] for entry in refused)
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "any two of objective" in told and "- anchors.lwf, in generation: `lwf` keeps" in told
    assert found["tasks"]["examples.self"] == ["generation"]
    lines = {line.split()[1]: line for line in told.splitlines() if line[:2].strip().isdigit()}
    order = list(lines)
    assert order == found["choices"]
    width = len(lines[order[0]]) - len(order)
    marks = {name: line.ljust(width + len(order))[width:] for name, line in lines.items()}
    for entry in found["pairs"]:
        one, other = entry["pair"]
        mark = "+" if len(entry["tasks"]) == 2 else entry["tasks"][0][0] if entry["works"] else "-"
        assert marks[one][order.index(other)] == marks[other][order.index(one)] == mark
    assert {mark for row in marks.values() for mark in row} == set(" +-cg")
