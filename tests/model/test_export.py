"""Exports: plain folders whose logits are those of the model in memory."""

import json
import re

import pytest
import torch
from peft import PeftModel
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from holdfast import adapters, digests, export
from holdfast.errors import BadInput
from holdfast.selection import Selection

TEXTS = ["the movie was good", "a very nasty service", "bagus"]


@pytest.fixture
def make(tune, tiny_start, every_kind, low_rank):
    """Return a function that makes a version: LoRA, a delta with two heads, or LoRA on top of that delta."""

    def run(name):
        if name == "lora":
            return tune(tiny_start, low_rank, 3)
        delta = tune(tune(tiny_start, Selection(), 4, "topic", ("x", "y")).start, every_kind)
        return delta if name == "delta" else tune(delta.start, low_rank, 2)

    return run


def by_hand(network, tokenizer):
    with torch.no_grad():
        return network.eval()(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits.numpy()


def in_memory(version):
    version.model.use_head("mood")
    return by_hand(version.model.network, version.model.tokenizer)


@pytest.mark.parametrize(("name", "tolerance"), [("delta", 0.0), ("mixed", 1e-6), ("lora", 1e-6)])
def test_a_merged_export_is_a_plain_model_with_the_same_logits(make, home, tmp_path, name, tolerance):
    version = make(name)
    folder = export.export(version.start, home, tmp_path / "out", merged=True, head="mood")
    network = AutoModelForSequenceClassification.from_pretrained(folder)
    assert network.config.id2label == {0: "a", 1: "b", 2: "c"} and network.config.label2id == {"a": 0, "b": 1, "c": 2}
    difference = abs(by_hand(network, AutoTokenizer.from_pretrained(folder)) - in_memory(version)).max()
    assert difference <= tolerance
    assert {path.suffix for path in folder.iterdir()} <= {".json", ".safetensors", ".md", ".txt"}
    assert str(tmp_path) not in (folder / "config.json").read_text()


@pytest.mark.parametrize(("name", "tolerance"), [("delta", 0.0), ("mixed", 1e-6), ("lora", 1e-6)])
def test_an_exported_adapter_loads_with_one_call_of_peft_and_gives_the_same_features(
    make, home, tmp_path, inputs, name, tolerance
):
    version = make(name)
    folder = export.export(version.start, home, tmp_path / "out", merged=False)
    loaded = PeftModel.from_pretrained(AutoModel.from_pretrained(version.start.base.name), str(folder)).eval()
    with torch.no_grad():
        difference = loaded(**inputs).last_hidden_state - version.model.encoder.eval()(**inputs).last_hidden_state
    assert difference.abs().max() <= tolerance


@pytest.mark.parametrize(("name", "tolerance"), [("delta", 0.0), ("mixed", 1e-6), ("lora", 1e-6)])
def test_the_lines_in_the_readme_of_an_adapter_give_the_same_logits(make, home, tmp_path, monkeypatch, name, tolerance):
    version = make(name)
    folder = export.export(version.start, home, tmp_path / "out", merged=False, head="mood")
    lines = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)[1]
    monkeypatch.chdir(folder)
    space: dict = {}
    exec(lines, space)
    assert abs(by_hand(space["network"], space["tokenizer"]) - in_memory(version)).max() <= tolerance
    assert ("holdfast" in lines) == (name != "lora")


def test_an_adapter_of_one_change_is_exported_as_it_is_and_still_verifies(make, home, tmp_path):
    version = make("lora")
    folder = export.export(version.start, home, tmp_path / "deep" / "out", merged=False)
    held, original = digests.of_folder(folder), digests.of_folder(home.store.path(version.start.adapter))
    assert set(held) - set(original) == {"README.md"}
    assert [name for name in original if held[name] != original[name]] == ["manifest.json"]
    assert list(adapters.info(folder)) == ["mood"]


def test_a_merged_export_can_be_a_base_again(make, home, tmp_path):
    from holdfast import bases, models
    from holdfast.records import Start

    version = make("delta")
    folder = export.export(version.start, home, tmp_path / "out", merged=True, head="mood")
    again = models.load(Start(model=str(folder), base=bases.resolve(str(folder))), home)
    ours, theirs = adapters.bare(again), adapters.bare(version.model)
    assert not again.heads and all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("merged", [True, False])
def test_what_cannot_be_exported_is_refused_and_leaves_nothing(make, tiny_start, home, tmp_path, merged):
    delta = make("delta").start
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(BadInput, match="not empty"):
        export.export(delta, home, tmp_path / "full", merged)
    with pytest.raises(BadInput, match="not empty"):
        export.export(delta, home, tmp_path / "full" / "mine.txt", merged)
    with pytest.raises(BadInput, match="without an adapter"):
        export.export(tiny_start, home, tmp_path / "out", merged)
    with pytest.raises(BadInput, match="no head"):
        export.export(delta, home, tmp_path / "out", merged, head="nobody")
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["full"]
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"


def test_a_merged_export_of_several_heads_needs_one_named(make, home, tmp_path):
    with pytest.raises(BadInput, match="several heads"):
        export.export(make("delta").start, home, tmp_path / "out", merged=True)


def test_an_empty_folder_is_exported_into_without_a_sound(make, home, tmp_path, capfd):
    start = make("lora").start
    (tmp_path / "out").mkdir()
    capfd.readouterr()
    export.export(start, home, tmp_path / "out", merged=True)
    assert capfd.readouterr() == ("", "")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["architectures"] == [
        "BertForSequenceClassification"
    ]
