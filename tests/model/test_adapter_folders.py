"""Adapter folders: what was tuned comes back, through chains too, and the same model gives the same bytes."""

import json

import pytest
import torch
from peft import PeftModel
from transformers import AutoModel, AutoTokenizer

from holdfast import adapters, digests, inference, models
from holdfast.errors import Corrupt, HoldfastError
from holdfast.records import HeadInfo
from holdfast.selection import Selection, attach

TEXTS = ["the movie was good", "a very nasty service", "bagus"]
NORM = Selection(whole=frozenset({"bert.encoder.layer.0.output.LayerNorm.weight"}))


def logits(model, head="mood"):
    model.use_head(head)
    return inference.logits(model, TEXTS, precision="fp32")


def assert_same(model, other):
    ours, theirs = adapters.bare(model), adapters.bare(other)
    assert set(ours) == set(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert set(model.heads) == set(other.heads)
    for name, head in model.heads.items():
        assert head.labels == other.heads[name].labels
        assert all(torch.equal(p, other.heads[name].parameters[n]) for n, p in head.parameters.items())


def test_a_delta_comes_back_to_the_bit(tune, tiny_start, every_kind, home):
    version = tune(tiny_start, every_kind)
    again = models.load(version.start, home)
    assert_same(again, version.model)
    assert again.head == "mood" and again.labels == ("a", "b", "c") and not again.network.training
    assert (logits(again) == logits(version.model)).all()
    assert all(p.requires_grad for p in again.network.parameters())


def test_writing_twice_gives_the_same_bytes_whatever_the_tokenizer_did_between(
    tune, tiny_start, every_kind, home, tmp_path
):
    version = tune(tiny_start, every_kind)
    inference.logits(version.model, TEXTS, max_length=8)
    version.model.tokenizer(TEXTS, padding=True, truncation=True, max_length=5)
    adapters.write(version.model, every_kind, tiny_start, home, tmp_path / "again")
    assert digests.of_folder(tmp_path / "again") == digests.of_folder(home.store.path(version.start.adapter))


def test_the_folder_holds_the_agreed_files_and_no_path_of_this_machine(tune, tiny_start, every_kind, home):
    folder = home.store.path(tune(tune(tiny_start, every_kind).start, NORM, 2).start.adapter)
    names = set(digests.of_folder(folder))
    assert names == {
        "adapter_model.safetensors",
        "adapter_config.json",
        "heads.safetensors",
        "heads.json",
        "manifest.json",
        "before/0/adapter_model.safetensors",
        "before/0/adapter_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    place = tiny_start.base.name.rpartition("/")[0].encode()
    assert not [name for name in names if place in (folder / name).read_bytes()]
    config = json.loads((folder / "adapter_config.json").read_text())
    assert list(config) == sorted(config)
    assert config["auto_mapping"]["base_model_sha256"] == tiny_start.base.sha256
    assert (
        AutoTokenizer.from_pretrained(folder)("good").input_ids
        == AutoTokenizer.from_pretrained(tiny_start.base.name)("good").input_ids
    )


def test_the_configuration_is_what_peft_itself_would_keep(tune, tiny_start, every_kind, home):
    from holdfast.delta import DeltaConfig

    folder = home.store.path(tune(tiny_start, every_kind).start.adapter)
    assert set(json.loads((folder / "adapter_config.json").read_text())) == set(DeltaConfig().to_dict())


def test_a_chain_holds_every_change_and_every_head(tune, tiny_start, every_kind, home):
    first = tune(tiny_start, every_kind)
    second = tune(first.start, NORM, 2, "topic", ("x", "y"))
    third = tune(second.start, Selection(), 3, "third", ("p", "q", "r", "s"))
    folder = home.store.path(third.start.adapter)
    assert [path.name for path in adapters.changes(folder)[:-1]] == ["0", "1"]
    assert adapters.info(folder) == {
        "mood": HeadInfo(labels=("a", "b", "c")),
        "topic": HeadInfo(labels=("x", "y")),
        "third": HeadInfo(labels=("p", "q", "r", "s")),
    }
    again = models.load(third.start, home)
    assert_same(again, third.model)
    assert logits(again, "topic").shape == (3, 2) and logits(again, "third").shape == (3, 4)


def test_more_than_four_earlier_changes_become_one_and_nothing_is_lost(tune, tiny_start, every_kind, home):
    version, counts = tune(tiny_start, every_kind), []
    for seed in range(1, 7):
        version = tune(version.start, NORM if seed % 2 else every_kind, seed)
        counts.append(len(adapters.changes(home.store.path(version.start.adapter))) - 1)
        assert_same(models.load(version.start, home), version.model)
    assert counts == [1, 2, 3, 4, 1, 2]


def test_lora_comes_back_merged_and_loads_with_peft_on_the_bare_encoder(tune, tiny_start, low_rank, home, inputs):
    version = tune(tiny_start, low_rank)
    again = models.load(version.start, home)
    assert type(again.encoder).__name__ == "BertModel" and not hasattr(again.encoder, "peft_config")
    assert abs(logits(again) - logits(version.model)).max() < 1e-6
    assert all(p.requires_grad for p in again.network.parameters())
    base = AutoModel.from_pretrained(tiny_start.base.name).eval()
    loaded = PeftModel.from_pretrained(base, str(home.store.path(version.start.adapter)))
    with torch.no_grad():
        assert torch.equal(loaded(**inputs).last_hidden_state, version.model.encoder(**inputs).last_hidden_state)


def test_lora_and_deltas_follow_each_other(tune, tiny_start, every_kind, low_rank, home):
    first = tune(tiny_start, low_rank)
    second = tune(first.start, every_kind, 2)
    third = tune(second.start, low_rank, 3)
    assert_same(models.load(second.start, home), second.model)
    assert abs(logits(models.load(third.start, home)) - logits(third.model)).max() < 1e-6


def test_injected_matrices_can_be_merged_or_removed(tiny_start, low_rank, home):
    from holdfast.tuners import injected

    for merge in (True, False):
        model = models.load_with_head(tiny_start, home, "mood", ("a", "b"), 1)
        before = logits(model)
        attach(model, low_rank)
        with torch.no_grad():
            for name, parameter in model.network.named_parameters():
                if "lora_B" in name:
                    parameter.normal_()
        tuned = logits(model)
        injected.unload(model.encoder, merge=merge)
        assert not [name for name, _ in model.network.named_modules() if "lora" in name]
        assert abs(logits(model) - (tuned if merge else before)).max() < 1e-6
        assert abs(tuned - before).max() > 1e-4


@pytest.mark.parametrize("kind", ["delta", "lora"])
def test_a_model_in_which_something_frozen_moved_is_not_written(tiny_start, home, low_rank, tmp_path, kind):
    selection = NORM if kind == "delta" else low_rank
    model = models.load_with_head(tiny_start, home, "mood", ("a", "b"), 1)
    attach(model, selection)
    with torch.no_grad():
        model.encoder.embeddings.word_embeddings.weight[3, 4] += 1e-3
    with pytest.raises(HoldfastError, match="word_embeddings"):
        adapters.write(model, selection, tiny_start, home, tmp_path / "adapter")


def test_an_entry_outside_its_mask_that_moved_is_seen(tiny_start, every_kind, home, tmp_path):
    model = models.load_with_head(tiny_start, home, "mood", ("a", "b"), 1)
    name, mask = next(iter(every_kind.partial.items()))
    with torch.no_grad():
        model.encoder_parameters()[name].view(-1)[(~mask).flatten().nonzero()[0]] += 1e-6
    with pytest.raises(HoldfastError, match="moved"):
        adapters.write(model, every_kind, tiny_start, home, tmp_path / "adapter")


def test_an_adapter_of_another_base_is_refused(tune, tiny_start, every_kind, home):
    version = tune(tiny_start, every_kind)
    model = models.load(tiny_start, home)
    for base in (tiny_start.base.model_copy(update={"sha256": "0" * 64}), None):
        model.base = base
        before = {name: value.clone() for name, value in adapters.bare(model).items()}
        with pytest.raises(Corrupt, match="base"):
            adapters.apply(model, home.store.path(version.start.adapter))
        assert all(torch.equal(before[name], value) for name, value in adapters.bare(model).items())
