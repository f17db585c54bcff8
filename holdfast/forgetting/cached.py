"""Arrays that a model gave for a dataset, kept in the store and found again by what they were computed from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast import digests, parts
from holdfast.errors import Corrupt
from holdfast.records import Artifact

if TYPE_CHECKING:
    from holdfast.home import Home

_KIND, _ARRAY, _KEY = "scores", "scores.safetensors", "key.json"


def array(key: dict[str, Any], make: Callable[[], np.ndarray], home: Home) -> np.ndarray:
    """Return the array kept under `key` (JSON-able; must say everything the numbers depend on), else make and keep it.

    What was kept is verified byte for byte, and must itself name `key`; where it fails, it is dropped and made again.
    """
    text = digests.canonical_json(key)
    index = home.cache / "scores" / f"{digests.of_json(key)}.json"
    found = _find(index, text, home)
    if found is None:
        found = make()
        _keep(index, _put(found, text, home))
    return found


def _find(index: Path, key: str, home: Home) -> np.ndarray | None:
    from safetensors.numpy import load_file

    try:
        artifact = Artifact.model_validate_json(index.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    try:
        folder = home.store.open(artifact)
    except Corrupt:
        home.store.discard(artifact)
        return None
    if artifact.kind != _KIND or (folder / _KEY).read_text(encoding="utf-8") != key:
        return None
    values: np.ndarray = load_file(folder / _ARRAY)["scores"]
    return values


def _put(values: np.ndarray, key: str, home: Home) -> Artifact:
    from safetensors.numpy import save_file

    with home.store.scratch() as scratch:
        folder = scratch / _KIND
        folder.mkdir()
        save_file({"scores": values}, folder / _ARRAY)
        (folder / _KEY).write_text(key, encoding="utf-8", newline="\n")
        return home.store.put(folder, _KIND)


def _keep(index: Path, artifact: Artifact) -> None:
    """Write the index entry whole or not at all."""
    with parts.making(index.parent) as part:
        (part / index.name).write_text(artifact.model_dump_json(), encoding="utf-8")
        (part / index.name).replace(index)
