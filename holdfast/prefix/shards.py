"""What a network's lower layers gave for rows, on disk: memory-mapped safetensors and a page that says what they are.

    index.json          the key (everything that the numbers depend on), and each shard's digest
    rows.safetensors    of each row its `shard`, the `first` of its states there, and its `length` in tokens
    0.safetensors ...   `states` [tokens, hidden], rows one after another, at most `SHARD` bytes

A folder is whole or absent, is named by the digest of its key, and is verified byte for byte when it is opened.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast import digests, parts

if TYPE_CHECKING:
    from torch import Tensor

SHARD = 256 << 20
_INDEX, _ROWS = "index.json", "rows.safetensors"


@dataclass(frozen=True)
class States:
    """States of rows, which are known by their number; of every row where they are: `shard`, `first` and `length`."""

    shards: tuple[Tensor, ...]
    shard: np.ndarray
    first: np.ndarray
    length: np.ndarray

    def row(self, number: int) -> Tensor:
        """Return the states of a row, [tokens, hidden], as they are kept."""
        first = int(self.first[number])
        return self.shards[int(self.shard[number])][first : first + int(self.length[number])]

    def padded(self, rows: Sequence[int], tokens: int, side: str = "right") -> Tensor:
        """Return the states of rows, float32 [rows, tokens, hidden], filled up with 0 on `side`."""
        import torch

        found = torch.zeros((len(rows), tokens, self.shards[0].shape[-1]), dtype=torch.float32)
        for place, number in enumerate(rows):
            own = self.row(number)
            first = 0 if side == "right" else tokens - len(own)
            found[place, first : first + len(own)] = own
        return found

    def __add__(self, other: States) -> States:
        """Return the rows of both, this one's first."""
        return States(
            (*self.shards, *other.shards),
            np.concatenate([self.shard, other.shard + len(self.shards)]),
            np.concatenate([self.first, other.first]),
            np.concatenate([self.length, other.length]),
        )


def write(root: Path, key: dict[str, Any], made: Iterable[tuple[int, Tensor]], rows: int) -> Path:
    """Write (row, its states [tokens, hidden]) in the order in which they come; return the folder.

    Another process that wrote the same meanwhile is not in the way.
    """
    place = root / digests.of_json(key)
    with parts.making(root) as part:
        files = _fill(part, made, rows)
        (part / _INDEX).write_text(json.dumps({"key": key, "files": files}, sort_keys=True), encoding="utf-8")
        try:
            part.rename(place)
        except OSError:
            if not place.is_dir():
                raise
    return place


def _fill(folder: Path, made: Iterable[tuple[int, Tensor]], rows: int) -> dict[str, str]:
    """Write the shards and the rows' places; return each file's digest."""
    import torch
    from safetensors.torch import save_file

    table = torch.zeros((3, rows), dtype=torch.int64)
    count = 0
    for count, held in enumerate(_shards(made), 1):
        first = 0
        for number, states in held:
            table[:, number] = torch.tensor([count - 1, first, len(states)])
            first += len(states)
        save_file({"states": torch.cat([states for _, states in held])}, folder / f"{count - 1}.safetensors")
    places = dict(zip(("shard", "first", "length"), table.unbind(0), strict=True))
    save_file({name: values.contiguous() for name, values in places.items()}, folder / _ROWS)
    names = [_ROWS, *(f"{number}.safetensors" for number in range(count))]
    return {name: digests.of_file(folder / name) for name in names}


def _shards(made: Iterable[tuple[int, Tensor]]) -> Iterator[list[tuple[int, Tensor]]]:
    held: list[tuple[int, Tensor]] = []
    size = 0
    for number, states in made:
        if held and size + states.nbytes > SHARD:
            yield held
            held, size = [], 0
        held.append((number, states))
        size += states.nbytes
    if held:
        yield held


def read(root: Path, key: dict[str, Any]) -> States | None:
    """Return what is kept under `key`, None where nothing is; what is damaged is removed."""
    from safetensors import safe_open
    from safetensors.torch import load_file

    folder = root / digests.of_json(key)
    try:
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        whole = index["key"] == json.loads(json.dumps(key)) and all(
            digests.of_file(folder / name) == digest for name, digest in index["files"].items()
        )
    except (OSError, ValueError, KeyError):
        whole = False
    if not whole:
        parts.remove(folder)
        return None
    os.utime(folder)
    table = load_file(folder / _ROWS)
    shards = []
    for number in range(len(index["files"]) - 1):
        with safe_open(folder / f"{number}.safetensors", framework="pt") as file:
            shards.append(file.get_tensor("states"))
    return States(tuple(shards), *(table[name].numpy() for name in ("shard", "first", "length")))


def make_room(root: Path, wanted: int, most: int) -> None:
    """Remove what was not used for longest until `wanted` more bytes come to at most `most`; halves go too."""
    if not root.is_dir():
        return
    parts.sweep(root)
    folders = sorted((f for f in root.iterdir() if (f / _INDEX).is_file()), key=lambda f: f.stat().st_mtime)
    sizes = {folder: sum(file.stat().st_size for file in folder.iterdir()) for folder in folders}
    total = sum(sizes.values())
    for folder in folders:
        if total + wanted <= most:
            return
        total -= sizes[folder]
        parts.remove(folder)
