"""Not one byte of an adapter folder can change unseen: flips, cuts, exchanges, extra files, gaps; the file is named."""

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast import adapters, digests, manifest, models
from holdfast.errors import Corrupt
from holdfast.selection import Selection

FLIPS = 1000
NORM = Selection(whole=frozenset({"bert.encoder.layer.0.output.LayerNorm.weight"}))


@pytest.fixture
def model(tiny_start, home) -> models.Model:
    """The bare base that adapters are loaded onto."""
    return models.load(tiny_start, home)


@pytest.fixture
def versions(tune, tiny_start, every_kind, home) -> tuple[Path, Path]:
    """Two valid adapters of one base, the second made from the first."""
    first = tune(tiny_start, every_kind)
    return tuple(home.store.path(v.start.adapter) for v in (first, tune(first.start, NORM, 2)))


@pytest.fixture
def folder(versions: tuple[Path, Path], model: models.Model, tmp_path: Path) -> Iterator[Path]:
    """A copy of the second, damaged and mended in place: afterwards it is as it was, and nothing of it was applied."""
    made = Path(shutil.copytree(versions[1], tmp_path / "adapter"))
    before = digests.of_folder(made)
    yield made
    assert digests.of_folder(made) == before and not model.heads


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def refused(model: models.Model, folder: Path, *named: Path) -> None:
    """Loading refuses the folder and names one of the files, or the manifest that no longer fits itself."""
    with pytest.raises(Corrupt) as caught:
        adapters.apply(model, folder)
    assert any(str(path) in str(caught.value) for path in named), (caught.value, named)


def test_a_thousand_flipped_bytes(folder: Path, model: models.Model) -> None:
    draw, paths = random.Random(20261121), files(folder)
    hit = set()
    for _ in range(FLIPS):
        path = draw.choice(paths)
        at, bit = draw.randrange(path.stat().st_size), 1 << draw.randrange(8)
        with path.open("r+b") as stream:
            byte = os.pread(stream.fileno(), 1, at)[0]
            os.pwrite(stream.fileno(), bytes([byte ^ bit]), at)
            refused(model, folder, path)
            os.pwrite(stream.fileno(), bytes([byte]), at)
        hit.add(path)
    assert hit == set(paths)


def test_every_file_cut_short_or_longer(folder: Path, model: models.Model) -> None:
    draw = random.Random(1)
    for path in files(folder):
        data = path.read_bytes()
        for size in {0, 1, len(data) - 1, draw.randrange(len(data))}:
            path.write_bytes(data[:size])
            refused(model, folder, path)
        path.write_bytes(data + b"\n")
        refused(model, folder, path)
        path.write_bytes(data)


def test_every_two_files_exchanged(folder: Path, model: models.Model) -> None:
    paths = files(folder)
    for first, second in ((a, b) for i, a in enumerate(paths) for b in paths[i + 1 :]):
        one, two = first.read_bytes(), second.read_bytes()
        if one == two:
            continue
        first.write_bytes(two)
        second.write_bytes(one)
        refused(model, folder, first, second)
        first.write_bytes(one)
        second.write_bytes(two)


def test_every_file_of_another_valid_adapter(folder: Path, versions: tuple[Path, Path], model: models.Model) -> None:
    other, tried = versions[0], 0
    for path in files(folder):
        foreign, data = other / path.relative_to(folder), path.read_bytes()
        if not foreign.is_file() or foreign.read_bytes() == data:
            continue
        path.write_bytes(foreign.read_bytes())
        named = files(folder) if path.name == manifest.NAME else [path]  # that manifest fits itself, and no other file
        refused(model, folder, *named)
        path.write_bytes(data)
        tried += 1
    assert tried >= 4


@pytest.mark.parametrize("name", ["extra.json", "before/9/adapter_model.safetensors", "model.bin", "x.pkl", "a/b.txt"])
def test_a_file_too_many(folder: Path, model: models.Model, name: str) -> None:
    extra = folder / name
    made = [parent for parent in extra.parents if not parent.exists()]
    extra.parent.mkdir(parents=True, exist_ok=True)
    extra.write_bytes(b"{}")
    refused(model, folder, extra)
    extra.unlink()
    for parent in made:
        parent.rmdir()


def test_every_file_removed_or_a_link(folder: Path, model: models.Model, tmp_path: Path) -> None:
    for path in files(folder):
        aside = tmp_path / path.name
        shutil.move(path, aside)
        refused(model, folder, path)
        path.symlink_to(aside)  # the very same bytes, but from outside the folder
        refused(model, folder, path)
        path.unlink()
        shutil.move(aside, path)


@pytest.mark.parametrize("name", ["../outside.json", "/etc/passwd", "before/../../x.json", "..\\x.json", ""])
def test_a_forged_manifest_that_leads_out_of_the_folder(folder: Path, model: models.Model, name: str) -> None:
    path = folder / manifest.NAME
    data = path.read_bytes()
    content = manifest.read(folder)
    path.write_text(manifest._text({**content, "files": {**content["files"], name: "0" * 64}}), encoding="utf-8")
    refused(model, folder, path)
    path.write_bytes(data)
