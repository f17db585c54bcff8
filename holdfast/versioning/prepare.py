"""The prepare stage: every dataset that a pipeline names becomes a dataset version, whatever it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast import rows as canonical_rows
from holdfast import tables
from holdfast.records import DatasetVersion
from holdfast.versioning import canonical, registry, repository, revision, split

if TYPE_CHECKING:
    from holdfast.home import Home
    from holdfast.spec import Learn, Remember

Row = dict[str, Any]
SHARES = {"valid": 0.1, "test": 0.2}
_ROLES = ("train", "valid", "test", "unlabelled")


@dataclass(frozen=True)
class _Source:
    """What a dataset reference stands for; `dataset` is None for a path."""

    ref: str
    files: tuple[Path, ...]
    dataset: registry.Dataset | None


def prepare(learn: Learn, remember: Sequence[Remember], seed: int, home: Home) -> dict[str, DatasetVersion]:
    """Return the versions of all datasets by role: `learn.train|valid|test`, `learn.unlabelled` where it is named, and
    `remember.NAME.train|valid|test`.

    Where `learn` names no valid or test, 10% and 20% of train's rows are split off it by `seed`; `remember` has train
    only where it is named. DVC is asked every time. Raises `BadInput` for an unknown dataset name, a file or column
    that is missing, a row that cannot be read, or a label with too few rows to split; `Corrupt` for a registered
    dataset whose file is not the registered one.
    """
    sections = {"learn": learn} | {f"remember.{task.name}": task for task in remember}
    wanted = {f"{key}.{role}": (section, ref) for key, section in sections.items() for role, ref in _refs(section)}
    sources = {ref: _resolve(ref, home) for _, ref in wanted.values()}
    copies = repository.imported(home, (file for source in sources.values() for file in source.files))
    versions: dict[str, DatasetVersion] = {}
    for key, (section, ref) in wanted.items():
        rows = _canonical(_read(sources[ref], copies), section, key, ref)
        for part, own in _parts(key, rows, learn, seed).items():
            versions[part] = _version(own, sources[ref], copies, home)
    return versions


def glance(learn: Learn, remember: Sequence[Remember]) -> None:
    """Raise `BadInput` for a dataset that is unknown or a file that is missing or no table, without reading either."""
    sections: list[Learn | Remember] = [learn, *remember]
    for ref in (ref for section in sections for _, ref in _refs(section)):
        _named(ref)


def plain_rows(ref: str, home: Home) -> list[Row]:
    """Return the rows of a registered dataset or a path as they are, with every column; raises `BadInput` as above."""
    source = _resolve(ref, home)
    return _read(source, repository.imported(home, source.files))


def _canonical(rows: list[Row], section: Learn | Remember, key: str, ref: str) -> list[Row]:
    if key == "learn.unlabelled":
        return canonical.texts(rows, section.text, ref)
    if section.metric == "likelihood":
        return canonical.whole_texts(rows, section.text, ref)
    if section.metric == "pairs":
        return canonical.minimal_pairs(rows, ref)
    if not section.generates:
        return canonical.rows(rows, section.text, section.label, ref)
    columns = {name: getattr(section, name) for name in ("prompt", "answer", "tests", "choices")}
    return canonical.pairs(rows, columns, ref)


def _refs(section: Learn | Remember) -> Iterator[tuple[str, str]]:
    for role in _ROLES:
        ref = getattr(section, role, None)
        if ref is not None:
            yield role, ref


def _resolve(ref: str, home: Home) -> _Source:
    found = _named(ref)
    if isinstance(found, Path):
        return _Source(ref, (found.resolve(),), None)
    return _Source(ref, tuple(registry.fetch(ref, home)), found)


def _named(ref: str) -> Path | registry.Dataset:
    """Return what a reference stands for: a path where it has a known suffix or exists, else a registered dataset."""
    path = Path(ref).expanduser()
    if ref not in registry.load() and (path.suffix.lower() in tables.SUFFIXES or path.exists()):
        tables.suffix_of(path)
        tables.check_file(path, path)
        return path
    return registry.find(ref)


def _read(source: _Source, copies: dict[Path, repository.Import]) -> list[Row]:
    """Return the source's rows, read from DVC's copies: the bytes that the md5 names."""
    paths = [copies[file].path for file in source.files]
    if source.dataset:
        return registry.rows(source.dataset, paths)
    return tables.read(paths[0], like=Path(source.ref))


def _parts(key: str, rows: list[Row], learn: Learn, seed: int) -> dict[str, list[Row]]:
    """Return the rows by role: as they are, or, of `learn.train`, with the parts split off that have no file."""
    shares = {role: share for role, share in SHARES.items() if getattr(learn, role) is None}
    if key != "learn.train" or not shares:
        return {key: rows}
    return {f"learn.{part}": own for part, own in split.split(rows, shares, seed, learn.train).items()}


def _version(rows: list[Row], source: _Source, copies: dict[Path, repository.Import], home: Home) -> DatasetVersion:
    """Put rows into the store, with where they come from: a registered dataset's origin, wherever it was found."""
    first = source.files[0]
    known = source.dataset
    origin, commit = (known.files[0].url, known.commit) if known else (str(first), revision.of_file(first))
    found = {"ref": source.ref, "source": origin, "dvc_md5": copies[first].md5, "git_revision": commit}
    return canonical_rows.version(home, rows).model_copy(update=found)
