"""The registry of datasets: what is known by name, where its files are found, and whether they are the right ones.

`data/registry/*.yaml` holds one file per family: origin, licence, citation, columns, cautions, a parser, the files with
their SHA-256, and the datasets made of them. A file is looked for below the folder that `HOLDFAST_DATA` names, else
below the home's cache, else downloaded from its origin; it is used only if its digest is the registered one.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import yaml

from holdfast import digests, tables
from holdfast.errors import BadInput, Corrupt, HoldfastError
from holdfast.versioning import parsers

if TYPE_CHECKING:
    from holdfast.home import Home

FOLDER = Path(__file__).resolve().parents[2] / "data" / "registry"
ORIGIN = "https://raw.githubusercontent.com"


@dataclass(frozen=True)
class File:
    """One file of a dataset: its place below `HOLDFAST_DATA`, its digest, and its address at the origin."""

    name: str
    sha256: str
    url: str


@dataclass(frozen=True)
class Dataset:
    """A registered dataset; `files` has the data first, then what goes with it."""

    name: str
    title: str
    rows: int
    licence: str
    citation: str
    columns: dict[str, str]
    cautions: tuple[str, ...]
    commit: str
    files: tuple[File, ...]
    parser: dict[str, Any]


@cache
def load(folder: Path = FOLDER) -> dict[str, Dataset]:
    """Return every registered dataset by name, families and names in the order of their files."""
    found: dict[str, Dataset] = {}
    for path in sorted(folder.glob("*.yaml")):
        family = yaml.safe_load(path.read_text(encoding="utf-8"))
        found |= {name: _dataset(name, entry, family) for name, entry in family["datasets"].items()}
    return found


def _dataset(name: str, entry: dict[str, Any], family: dict[str, Any]) -> Dataset:
    own = {key: value for key, value in entry.items() if key not in ("files", "rows")}
    return Dataset(
        name=name,
        title=family["title"],
        rows=entry["rows"],
        licence=family["licence"],
        citation=family["citation"],
        columns=family["columns"],
        cautions=tuple(family["cautions"]),
        commit=family["origin"]["commit"],
        files=tuple(_file(file, family) for file in entry["files"]),
        parser=family["parser"] | own,
    )


def _file(name: str, family: dict[str, Any]) -> File:
    origin, known = family["origin"], family["files"][name]
    url = f"{ORIGIN}/{origin['repository']}/{origin['commit']}/{quote(known['path'])}"
    return File(name=name, sha256=known["sha256"], url=url)


def find(name: str) -> Dataset:
    """Return the dataset of that name; raises `BadInput` with the nearest names where there is none."""
    known = load()
    if name not in known:
        remedy = "`holdfast data list` shows all; a path ends in .csv, .tsv, .jsonl or .parquet."
        raise BadInput(f"no dataset is called {name!r}", expected=tables.nearest(name, known), remedy=remedy)
    return known[name]


def listing(home: Home | None = None) -> list[dict[str, Any]]:
    """Return, for every dataset, `name`, `rows`, `licence`, `available` and `title`.

    `available` says where its files would come from: `HOLDFAST_DATA`, the `cache` of `home`, or a `download`.
    """
    return [
        {
            "name": known.name,
            "rows": known.rows,
            "licence": known.licence,
            "available": _available(known, home),
            "title": known.title,
        }
        for known in load().values()
    ]


def _available(dataset: Dataset, home: Home | None) -> str:
    given = _given_folder()
    if given and all((given / file.name).is_file() for file in dataset.files):
        return "HOLDFAST_DATA"
    if home and all(_cached(file, home).is_file() for file in dataset.files):
        return "cache"
    return "download"


def fetch(name: str, home: Home) -> list[Path]:
    """Return the paths of a dataset's files, present and verified; downloads into the home's cache where needed.

    Raises `BadInput` for an unknown name or a `HOLDFAST_DATA` that is no folder, `Corrupt` for a file of another
    digest, `HoldfastError` where a download fails.
    """
    return [_locate(file, home) for file in find(name).files]


def rows(dataset: Dataset, paths: list[Path]) -> list[dict[str, Any]]:
    """Return the dataset's rows, read from `paths` (copies of its files, in their order)."""
    options = {key: value for key, value in dataset.parser.items() if key != "kind"}
    return parsers.parse(dataset.parser["kind"], paths, **options)


def _given_folder() -> Path | None:
    named = os.environ.get("HOLDFAST_DATA")
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise BadInput("HOLDFAST_DATA names no folder", file=folder, remedy="Name the folder of datasets, or unset it.")
    return folder.resolve()


def _cached(file: File, home: Home) -> Path:
    return home.cache / "datasets" / file.name


def _locate(file: File, home: Home) -> Path:
    given = _given_folder()
    if given and (given / file.name).is_file():
        return _verified(given / file.name, file)
    cached = _cached(file, home)
    if not (cached.is_file() and digests.of_file(cached) == file.sha256):
        _download(file, cached)
    return cached


def _verified(path: Path, file: File) -> Path:
    found = digests.of_file(path)
    if found != file.sha256:
        raise Corrupt(
            f"{path}: the file is not the registered one (SHA-256 {found[:12]}..., expected {file.sha256[:12]}...); "
            f"restore it from {file.url}, or remove it to have it downloaded"
        )
    return path


def _download(file: File, place: Path) -> None:
    """Download a file to `place`, whole and verified or not at all."""
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.WARNING)
    try:
        pooch.retrieve(file.url, known_hash=f"sha256:{file.sha256}", fname=place.name, path=place.parent)
    except requests.RequestException as error:
        raise HoldfastError(
            f"{file.name}: cannot be downloaded from {file.url} ({error}); "
            "set HOLDFAST_DATA to a folder that holds it, or try again with a network"
        ) from error
    except ValueError as error:
        raise Corrupt(f"{file.url}: the download is not the registered file ({error})") from error
