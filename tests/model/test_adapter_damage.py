"""No damaged adapter folder is ever loaded: random damage of every sort, and the ways round a manifest."""

import json
import pickle
import random
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from holdfast import adapters, digests, manifest, models
from holdfast.errors import Corrupt
from holdfast.selection import Selection

NORM = Selection(whole=frozenset({"bert.encoder.layer.0.output.LayerNorm.weight"}))


@pytest.fixture
def whole(tune, tiny_start, every_kind, home):
    """A folder with one earlier change."""
    return home.store.path(tune(tune(tiny_start, every_kind).start, NORM, 2).start.adapter)


@pytest.fixture
def model(tiny_start, home):
    return models.load(tiny_start, home)


def damage(folder, draw):
    """Damage a folder at random in one of six ways; return what was done."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    path, other = draw.sample(paths, 2)
    data = path.read_bytes()
    kind = draw.choice(["flip", "flip", "flip", "truncate", "swap", "add", "remove"])
    if kind == "flip":
        at = draw.randrange(len(data))
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :])
    elif kind == "truncate":
        path.write_bytes(data[: draw.randrange(len(data))])
    elif kind == "swap":
        path.write_bytes(other.read_bytes())
        other.write_bytes(data)
    elif kind == "add":
        name = draw.choice(["extra.json", "before/0/extra.safetensors", "before/7/adapter_config.json", "model.bin"])
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(draw.randbytes(draw.randrange(40)))
    else:
        path.unlink()
    return f"{kind} {path.relative_to(folder)}"


def test_random_damage_is_always_seen_and_nothing_of_it_used(whole, model, tmp_path):
    draw = random.Random(7)
    original = digests.of_folder(whole)
    before = {name: value.clone() for name, value in adapters.bare(model).items()}
    for turn in range(240):
        folder = tmp_path / str(turn)
        shutil.copytree(whole, folder)
        what = damage(folder, draw)
        if digests.of_folder(folder) == original:  # swapped with itself in content
            continue
        with pytest.raises(Corrupt) as caught:
            adapters.apply(model, folder)
        assert str(folder) in str(caught.value), what
        shutil.rmtree(folder)
    assert not model.heads
    assert all(torch.equal(before[name], value) for name, value in adapters.bare(model).items())
    adapters.apply(model, whole)


def test_every_byte_of_the_manifest_counts(whole, tmp_path):
    data = (whole / manifest.NAME).read_bytes()
    for at in range(len(data)):
        (tmp_path / manifest.NAME).write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(Corrupt):
            manifest.read(tmp_path)
    (tmp_path / manifest.NAME).write_bytes(data)
    assert manifest.read(tmp_path)["files"]


@pytest.mark.parametrize("name", ["evil.bin", "evil.pt", "evil.pkl", "evil.ckpt", "evil.npy", "evil"])
def test_a_kind_of_file_that_can_hold_a_pickle_is_refused_even_when_the_manifest_names_it(
    whole, model, tiny_start, tmp_path, name
):
    folder = shutil.copytree(whole, tmp_path / "copy")
    (folder / name).write_bytes(b"anything")
    manifest.write(folder, tiny_start.base)
    with pytest.raises(Corrupt, match=name):
        adapters.apply(model, folder)


@pytest.mark.parametrize(
    "name", ["evil.json", "evil.txt", "tokenizer.json", "adapter_model.safetensors", "heads.safetensors"]
)
def test_a_pickle_under_a_harmless_name_is_refused(whole, model, tiny_start, tmp_path, name):
    folder = shutil.copytree(whole, tmp_path / "copy")
    torch.save({"a": torch.zeros(2)}, tmp_path / "zip")
    for data in (pickle.dumps({"a": 1}), (tmp_path / "zip").read_bytes()):
        (folder / name).write_bytes(data)
        manifest.write(folder, tiny_start.base)
        with pytest.raises(Corrupt, match=name):
            adapters.apply(model, folder)


def test_a_safetensors_file_whose_length_looks_like_a_pickle_is_not_mistaken_for_one(tmp_path):
    (tmp_path / "a.safetensors").write_bytes((0x0280).to_bytes(8, "little") + b"{" + b" " * 0x027F)
    assert not manifest._may_be_pickle(tmp_path / "a.safetensors")


def rewritten(folder, change):
    """Write a manifest that `change` altered, with a right digest of itself, as a forger would."""
    content = json.loads((folder / manifest.NAME).read_text())
    change(content)
    (folder / manifest.NAME).write_text(manifest._text(content))


@pytest.mark.parametrize("path", ["../outside.json", "/etc/hostname", "before/../../outside.json", "a\\b.json", ""])
def test_a_path_that_leaves_the_folder_is_refused(whole, model, tmp_path, path):
    folder = shutil.copytree(whole, tmp_path / "copy")
    (tmp_path / "outside.json").write_text("{}")
    rewritten(folder, lambda content: content["files"].update({path: digests.of_file(tmp_path / "outside.json")}))
    with pytest.raises(Corrupt, match="not a path inside"):
        adapters.apply(model, folder)


def test_links_are_refused(whole, model, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "copy")
    (folder / "heads.json").rename(tmp_path / "heads.json")
    (folder / "heads.json").symlink_to(tmp_path / "heads.json")
    with pytest.raises(Corrupt, match="link"):
        adapters.apply(model, folder)
    with pytest.raises(Corrupt, match="link"):
        adapters.info(folder)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", '{"base": 1, "files": 2}', '{"base": {}, "files": {}}', "\xff"]
)
def test_what_is_no_manifest_is_refused(tmp_path, text):
    (tmp_path / manifest.NAME).write_text(text, encoding="latin-1")
    with pytest.raises(Corrupt, match=manifest.NAME):
        manifest.verify(tmp_path)


def test_low_rank_matrices_that_are_not_all_there_are_refused(tune, tiny_start, low_rank, home, model, tmp_path):
    folder = shutil.copytree(home.store.path(tune(tiny_start, low_rank).start.adapter), tmp_path / "copy")
    tensors = load_file(folder / adapters.ADAPTER)
    tensors.pop(max(tensors))
    save_file(tensors, folder / adapters.ADAPTER)
    manifest.write(folder, tiny_start.base)
    with pytest.raises(Corrupt, match="lora_B"):
        adapters.apply(model, folder)


def test_forged_contents_that_do_not_fit_are_refused(whole, model, tiny_start, tmp_path):
    for name, text in (
        ("heads.json", '{"other": {"labels": ["a"]}}'),
        ("adapter_config.json", '{"peft_type": "BOFT"}'),
    ):
        folder = shutil.copytree(whole, tmp_path / name)
        (folder / name).write_text(text)
        manifest.write(folder, tiny_start.base)
        with pytest.raises(Corrupt, match=name):
            adapters.apply(model, folder)
