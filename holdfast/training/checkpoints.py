"""Checkpoints, whole or not at all: folders of safetensors and JSON with a digest per file.

A checkpoint is written beside its place, flushed to disk, and renamed. A killed process leaves either the old ones or
the new one, and half a folder under another name that the next run removes (`holdfast.leftovers`).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast import digests, faults, parts

if TYPE_CHECKING:
    from torch import Tensor

_NAME, _MANIFEST = "checkpoint-", "manifest.json"
KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint: the update it was made after, and its folder."""

    step: int
    folder: Path

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Return the tensors that were written under `name`."""
        from safetensors.torch import load_file

        found: dict[str, Tensor] = load_file(self.folder / f"{name}.safetensors")
        return found

    def document(self, name: str) -> Any:
        """Return the JSON value that was written under `name`."""
        return json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))


def write(
    root: Path,
    step: int,
    tensors: dict[str, dict[str, Tensor]],
    documents: dict[str, Any],
    allowed: Callable[[], None] = lambda: None,
) -> Checkpoint:
    """Write the checkpoint of `step` below `root` and remove all but the newest two.

    Every name in `tensors` becomes a safetensors file, every name in `documents` a JSON file. `allowed` is asked right
    before the checkpoint is put in its place, and raises where that is for another process now. Raises `DiskFull` where
    there is no room for it; the older ones stay.
    """
    place = root / f"{_NAME}{step}"
    with parts.making(root) as part:
        try:
            _fill(part, tensors, documents)
        except Exception as error:
            if faults.full(error):
                raise faults.disk_full(error, root, kept(root)) from error
            raise
        allowed()
        shutil.rmtree(place, ignore_errors=True)
        part.rename(place)
    _flush(root)
    for old in _steps(root)[:-KEPT]:
        shutil.rmtree(root / f"{_NAME}{old}", ignore_errors=True)
    return Checkpoint(step, place)


def newest(root: Path) -> Checkpoint | None:
    """Return the newest checkpoint below `root` whose every file has its recorded digest, or None."""
    for step in reversed(_steps(root)):
        folder = root / f"{_NAME}{step}"
        if _whole(folder):
            return Checkpoint(step, folder)
    return None


def kept(root: Path) -> str:
    """Say which checkpoint below `root` a tuning that ends here would go on from."""
    last = newest(root)
    if last is None:
        return "no checkpoint had been written yet"
    return f"the last good checkpoint, of step {last.step}, is kept in {last.folder}"


def discard(root: Path) -> None:
    """Remove every checkpoint below `root`, and `root`: at once, so that a killed process leaves no part of it."""
    if root.is_dir():
        with parts.making(root.parent) as part:
            root.rename(part / root.name)


def _fill(folder: Path, tensors: dict[str, dict[str, Tensor]], documents: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    for name, values in tensors.items():
        save_file({key: value.detach().contiguous() for key, value in values.items()}, folder / f"{name}.safetensors")
    for name, value in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(value, sort_keys=True), encoding="utf-8")
    (folder / _MANIFEST).write_text(json.dumps(digests.of_folder(folder), sort_keys=True), encoding="utf-8")
    for path in folder.iterdir():
        _flush(path)
    _flush(folder)


def _flush(path: Path) -> None:
    """Have the system write a file's or folder's contents to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _steps(root: Path) -> list[int]:
    found = [path.name.removeprefix(_NAME) for path in root.glob(f"{_NAME}*")]
    return sorted(int(step) for step in found if step.isdigit())


def _whole(folder: Path) -> bool:
    try:
        wanted = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    found = digests.of_folder(folder)
    found.pop(_MANIFEST, None)
    return bool(wanted == found)
