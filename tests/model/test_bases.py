"""Base models: found without importing, verified by digest, loaded quietly, and refused when they do not fit."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from holdfast import bases, digests
from holdfast.errors import BadInput, Corrupt


@pytest.fixture
def copied(tiny_base, tmp_path):
    """A copy of the tiny base, to be damaged."""
    return shutil.copytree(tiny_base, tmp_path / "base")


def rewrite(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_the_known_base_is_found_and_verified_without_importing_its_package():
    known = bases.KNOWN["all-MiniLM-L6-v2"]
    sys.modules.pop(known.package, None)
    base = bases.resolve("all-MiniLM-L6-v2")
    folder = bases.locate(base)
    assert base.sha256 == known.sha256 == digests.of_file(folder / "model.safetensors")
    assert known.package not in sys.modules and base.revision is None


def test_a_known_base_with_other_weights_is_refused(copied, monkeypatch):
    monkeypatch.setattr(bases, "_installed", lambda known: copied)
    with pytest.raises(Corrupt, match="all-MiniLM-L6-v2"):
        bases.resolve("all-MiniLM-L6-v2")


def test_a_base_whose_weights_changed_is_not_loaded(copied):
    base = bases.resolve(str(copied))
    assert bases.locate(base) == copied
    rewrite(copied, lambda tensors: tensors["pooler.dense.bias"].add_(1))
    with pytest.raises(Corrupt, match="sha256"):
        bases.locate(base)


def test_several_weight_files_have_one_digest(copied):
    whole = bases.resolve(str(copied)).sha256
    tensors = load_file(copied / "model.safetensors")
    (copied / "model.safetensors").unlink()
    for i, names in enumerate((sorted(tensors)[:9], sorted(tensors)[9:]), 1):
        save_file({name: tensors[name] for name in names}, copied / f"model-0000{i}-of-00002.safetensors")
    split = bases.resolve(str(copied)).sha256
    assert split != whole and split == bases.resolve(str(copied)).sha256
    (copied / "model-00002-of-00002.safetensors").write_bytes(b"other")
    assert bases.resolve(str(copied)).sha256 != split


def test_pickled_weights_and_folders_that_are_no_model_are_refused(tiny_base, copied):
    (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
    with pytest.raises(BadInput, match="safetensors"):
        bases.resolve(str(copied))
    shutil.copy(tiny_base / "model.safetensors", copied / "adapter_model.safetensors")
    (copied / "config.json").unlink()
    with pytest.raises(BadInput, match=r"config\.json"):
        bases.resolve(str(copied))


def test_a_hub_id_is_pinned_to_the_commit_that_was_found(copied, monkeypatch, tmp_path):
    import huggingface_hub

    asked = []

    def snapshot(hub, revision=None, **patterns):
        asked.append((hub, revision))
        assert "*.bin" not in patterns["allow_patterns"]
        folder = tmp_path / "models--org--name" / "snapshots" / (revision or "c0ffee")
        return str(shutil.copytree(copied, folder, dirs_exist_ok=True))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    base = bases.resolve("org/name")
    assert (base.name, base.revision) == ("org/name", "c0ffee")
    assert bases.locate(base).name == "c0ffee"
    assert bases.resolve("org/name", "v1").revision == "v1"
    assert asked == [("org/name", None), ("org/name", "c0ffee"), ("org/name", "v1")]


def test_a_known_base_that_is_not_installed_comes_from_the_hub_and_must_have_its_digest(copied, monkeypatch):
    monkeypatch.setattr(bases, "_installed", lambda known: None)
    monkeypatch.setattr(bases, "_download", lambda hub, revision: copied)
    with pytest.raises(Corrupt, match="expected 53aa5117"):
        bases.resolve("all-MiniLM-L6-v2")


def test_a_name_that_nobody_knows_says_what_was_tried(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BadInput) as caught:
        bases.resolve("nobody/nothing")
    for part in ("nobody/nothing", "start.model", "all-MiniLM-L6-v2", "HF_HUB_OFFLINE"):
        assert part in str(caught.value)


def test_loading_is_silent_and_leaves_verbosity_and_random_state_alone(tiny_base, capfd):
    from transformers.utils import logging

    logging.set_verbosity_warning()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    network, tokenizer = bases.network(tiny_base), bases.tokenizer(tiny_base)
    assert torch.equal(state, torch.get_rng_state())
    assert capfd.readouterr() == ("", "")
    assert logging.get_verbosity() == logging.WARNING and logging.is_progress_bar_enabled()
    assert not network.training and network.dtype == torch.float32 and tokenizer("good").input_ids
    again = bases.network(tiny_base)
    assert all(torch.equal(p, q) for p, q in zip(network.parameters(), again.parameters(), strict=True))


def test_weights_that_lack_a_part_of_the_encoder_are_refused(copied):
    rewrite(copied, lambda tensors: tensors.pop("encoder.layer.1.output.dense.weight"))
    with pytest.raises(Corrupt, match=r"encoder\.layer\.1\.output\.dense\.weight"):
        bases.network(copied)


def test_weights_of_another_shape_are_refused(copied):
    rewrite(copied, lambda tensors: tensors.update({"pooler.dense.bias": torch.zeros(7)}))
    with pytest.raises(Corrupt, match=r"pooler\.dense\.bias"):
        bases.network(copied)


def test_weights_that_the_encoder_does_not_know_are_refused(copied):
    rewrite(copied, lambda tensors: tensors.update({"encoder.layer.2.output.dense.weight": torch.zeros(3)}))
    with pytest.raises(Corrupt, match=r"encoder\.layer\.2"):
        bases.network(copied)


def test_the_heads_of_other_tasks_and_of_other_sizes_are_left_aside(copied):
    def with_heads(tensors):
        for name in list(tensors):
            tensors[f"bert.{name}"] = tensors.pop(name)
        tensors["cls.predictions.bias"] = torch.zeros(29)
        tensors["classifier.weight"], tensors["classifier.bias"] = torch.ones(5, 32), torch.ones(5)

    plain = bases.network(copied).base_model
    network = bases.network(rewrite(copied, with_heads))
    assert network.config.num_labels == 2 and network.classifier.weight.shape == (2, 32)
    pairs = zip(plain.parameters(), network.base_model.parameters(), strict=True)
    assert all(torch.equal(p, q) for p, q in pairs)
    rewrite(copied, lambda tensors: tensors.update({"bert.encoder.strange": torch.zeros(3)}))
    with pytest.raises(Corrupt, match="strange"):
        bases.network(copied)


def test_artifacts_name_a_folder_without_its_path(copied):
    base = bases.resolve(str(copied))
    assert bases.portable_name(base) == "base"
    assert bases.portable_name(base.model_copy(update={"name": "org/name"})) == "org/name"
    assert bases.portable_name(base.model_copy(update={"name": "/gone/elsewhere"})) == "elsewhere"


def test_the_registry_of_bases_is_complete():
    for known in bases.KNOWN.values():
        assert len(bytes.fromhex(known.sha256)) == 32 and known.licence and "/" in known.place


def test_the_tiny_base_is_a_bare_encoder(tiny_base):
    assert json.loads(Path(tiny_base / "config.json").read_text())["architectures"] == ["BertModel"]
