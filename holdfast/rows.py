"""Dataset rows inside Holdfast: canonical JSON lines with `id`, `text`, `label` and whatever else the source had."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from holdfast import digests
from holdfast.records import Artifact, DatasetVersion

if TYPE_CHECKING:
    from holdfast.home import Home

Row = dict[str, Any]
_FILE = "rows.jsonl"


def read(home: Home, dataset: DatasetVersion) -> list[Row]:
    """Return the rows of a dataset version, in order, after verifying its digest."""
    return list(_lines(home, dataset.artifact))


def _lines(home: Home, artifact: Artifact) -> Iterator[Row]:
    path = home.store.open(artifact) / _FILE
    with path.open(encoding="utf-8", newline="\n") as lines:  # str.splitlines would also break a text at U+2028
        yield from map(json.loads, lines)


def stored(home: Home, digest: str) -> list[Row]:
    """Return the rows whose canonical lines have the SHA-256 `digest`; raise `Corrupt` where the home lacks them."""
    return list(_lines(home, Artifact(kind="dataset", digest=digests.of_json({_FILE: digest}))))


def write(home: Home, rows: Iterable[Row]) -> tuple[Artifact, str]:
    """Put rows into the store; return the artifact and the SHA-256 of the canonical lines."""
    text = "".join(digests.canonical_json(row) + "\n" for row in rows)
    with home.store.scratch() as scratch:
        folder = scratch / "dataset"
        folder.mkdir()
        (folder / _FILE).write_text(text, encoding="utf-8", newline="\n")
        return home.store.put(folder, "dataset"), digests.of_bytes(text.encode())


def version(home: Home, rows: list[Row], like: DatasetVersion | None = None, ref: str = "memory") -> DatasetVersion:
    """Return the dataset version of `rows`: provenance from `like` where given, else named `ref` with none."""
    artifact, digest = write(home, rows)
    labels = dict(sorted(Counter(str(row["label"]) for row in rows if row.get("label") is not None).items()))
    changed = {"digest": digest, "rows": len(rows), "labels": labels, "artifact": artifact}
    if like is not None:
        return like.model_copy(update=changed)
    return DatasetVersion(ref=ref, source=ref, dvc_md5="", git_revision=None, **changed)


def texts(rows: Iterable[Row]) -> list[str]:
    """Return the texts of `rows`."""
    return [row["text"] for row in rows]


def label_ids(rows: Iterable[Row], labels: tuple[str, ...]) -> list[int]:
    """Return each row's label as its index in `labels`; raises `KeyError` on an unknown one: validate first."""
    index = {label: i for i, label in enumerate(labels)}
    return [index[str(row["label"])] for row in rows]
