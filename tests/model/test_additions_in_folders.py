"""What is added to an encoder comes back from its folder, alone and in a chain; PEFT and exports agree with it."""

import json
import re

import pytest
import torch
from peft import PeftModel
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from holdfast import adapters, choices, export, models, selection
from holdfast.errors import BadInput, Corrupt
from holdfast.records import Start
from holdfast.registry import start as starts
from holdfast.selection import Selection

TEXTS = ["the movie was good", "a very nasty service", "bagus"]
MERGE = {
    "dora": {"lora": {"kind": "dora", "r": 2, "targets": ["attention"]}},
    "pissa": {"lora": {"kind": "pissa", "r": 2, "targets": ["mlp"]}},
    "osf": {"lora": {"kind": "osf", "keep": 0.5}},
    "ia3": "ia3",
}
STAY = {"houlsby": {"houlsby": 4}, "prefix": {"prefix": 3}, "prompt": {"prompt": 3}}
KINDS = {**MERGE, **STAY}
PLACES = [*((name, False) for name in KINDS), ("pissa", True), ("houlsby", True), ("prompt", True)]
NORM = Selection(whole=frozenset({"bert.encoder.layer.0.output.LayerNorm.weight"}))


@pytest.fixture
def make(tune, tiny_start, home):
    """Return a function that tunes a kind of addition at random, from the base or from a version with a new norm."""

    def run(name, later=False):
        start = tune(tiny_start, NORM, 4).start if later else tiny_start
        model = models.load_with_head(start, home, "mood", ("a", "b", "c"), 0)
        chosen = selection._united(model, None, choices.parse("parameters", KINDS[name], "parameters"))
        return tune(start, chosen, 2)

    return run


def by_hand(network, tokenizer):
    with torch.no_grad():
        return network.eval()(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits.numpy()


def in_memory(model):
    model.use_head("mood")
    return by_hand(model.network, model.tokenizer)


@pytest.mark.parametrize(("name", "later"), PLACES)
def test_it_comes_back_with_the_same_predictions(make, home, name, later):
    version = make(name, later)
    again, base = models.load(version.start, home), models.load_base(version.start)
    again.use_head("mood")
    base.heads = again.heads
    assert abs(in_memory(again) - in_memory(version.model)).max() < 1e-6
    assert abs(in_memory(base) - in_memory(version.model)).max() > 5e-5
    names = {n for n, p in again.encoder.named_parameters() if p.requires_grad}
    assert names == {n for n, _ in again.encoder.named_parameters() if ".holdfast_" not in n}


@pytest.mark.parametrize("name", list(KINDS))
def test_peft_loads_disables_and_merges_it_over_the_untouched_base(make, home, inputs, name):
    from holdfast.tuners import registered

    version = make(name)
    folder = str(home.store.path(version.start.adapter))
    fresh = AutoModel.from_pretrained(version.start.base.name).eval()
    with torch.no_grad():
        base = fresh(**inputs).last_hidden_state
        loaded = PeftModel.from_pretrained(fresh, folder, adapter_name="one")
        loaded.load_adapter(folder, adapter_name="two")
        wanted = version.model.encoder.eval()(**inputs).last_hidden_state
        assert registered.METHODS and (wanted - base).abs().max() > 5e-5
        for adapter in ("one", "two"):
            loaded.set_adapter(adapter)
            torch.testing.assert_close(loaded(**inputs).last_hidden_state, wanted, rtol=0, atol=2e-6)
        with loaded.disable_adapter():
            assert torch.equal(loaded(**inputs).last_hidden_state, base)
        if name in STAY:
            with pytest.raises(ValueError, match="cannot be merged"):
                loaded.merge_and_unload()
            return
        torch.testing.assert_close(loaded.merge_and_unload()(**inputs).last_hidden_state, wanted, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("name", "later"), PLACES)
def test_the_lines_in_the_readme_of_an_export_give_the_same_logits(make, home, tmp_path, monkeypatch, name, later):
    version = make(name, later)
    folder = export.export(version.start, home, tmp_path / "out", merged=False)
    lines = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)[1]
    monkeypatch.chdir(folder)
    space: dict = {}
    exec(lines, space)
    assert abs(by_hand(space["network"], space["tokenizer"]) - in_memory(version.model)).max() <= 2e-6
    assert ("import holdfast" in lines) == (later or name == "osf" or name in STAY)


@pytest.mark.parametrize("name", list(MERGE))
def test_a_merged_export_is_a_plain_model_with_the_same_logits(make, home, tmp_path, name):
    version = make(name)
    folder = export.export(version.start, home, tmp_path / "out", merged=True)
    network, tokenizer = (kind.from_pretrained(folder) for kind in (AutoModelForSequenceClassification, AutoTokenizer))
    assert abs(by_hand(network, tokenizer) - in_memory(version.model)).max() <= 2e-6


@pytest.mark.parametrize("name", list(STAY))
def test_what_stays_beside_the_weights_is_neither_merged_nor_tuned_further(make, home, tmp_path, name, monkeypatch):
    version = make(name)
    with pytest.raises(BadInput, match=r"cannot be merged: what HOLDFAST_\w+ adds is no change of the weights"):
        export.export(version.start, home, tmp_path / "out", merged=True)
    monkeypatch.setattr(starts.versions, "fetch", lambda *args: version.start)
    spec = type("S", (), {"model": "models:/a@champion", "revision": None, "made_by": None})
    with pytest.raises(BadInput, match="cannot be tuned further"):
        starts.resolve(spec, home)
    assert starts.resolve(spec, home, tuned=False) == version.start


def test_pissa_is_kept_as_a_lora_of_twice_the_rank(make, home):
    folder = home.store.path(make("pissa").start.adapter)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["init_lora_weights"]) == (4, 32.0, True)


def test_a_frozen_weight_that_moved_is_seen_beside_an_addition(make, home, tiny_start, tmp_path):
    from holdfast.errors import HoldfastError

    version = make("houlsby")
    with torch.no_grad():
        version.model.encoder.embeddings.word_embeddings.weight[3, 4] += 1e-5
    with pytest.raises(HoldfastError, match="word_embeddings"):
        adapters.write(version.model, version.selection, tiny_start, home, tmp_path / "again")


def test_an_adapter_of_an_unknown_kind_is_refused(tmp_path):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "VERA"}))
    with pytest.raises(Corrupt, match="kind VERA, not one of HOLDFAST_DELTA, LORA, IA3"):
        adapters.kind(tmp_path)


def test_a_base_needs_no_adapter_to_be_tuned(tiny_start, home):
    spec = type("S", (), {"model": tiny_start.base.name, "revision": None, "made_by": None})
    assert isinstance(starts.resolve(spec, home), Start)
