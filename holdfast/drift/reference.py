"""The reference: rows that windows are compared with, a dataset version, and its statistics, measured once.

The statistics are an artifact of their own: `reference.safetensors` (descriptors, hashed n-grams, embeddings,
confidences, which rows may judge) and `reference.json` (predictions). With the dataset's rows they are a `Sample`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast import rows as dataset_rows
from holdfast.drift import observe, terms
from holdfast.drift.sample import Sample, measure, objects
from holdfast.errors import Corrupt
from holdfast.records import Artifact, DatasetVersion, Record

if TYPE_CHECKING:
    from holdfast.drift.settings import Columns
    from holdfast.home import Home

Row = dict[str, Any]
Observe = Callable[[Sequence[Row]], observe.Observed]
JUDGING = "judging"
_NUMBERS, _NAMES = "reference.safetensors", "reference.json"


class Reference(Record):
    """A reference: its rows and its statistics."""

    dataset: DatasetVersion
    statistics: Artifact


def gather(parts: Mapping[str, Sequence[Row]], most: int, seed: int, home: Home) -> DatasetVersion:
    """Return the rows of all `parts` (by role) as one dataset version, the reference: at most `most`, drawn by `seed`.

    A row's `judging` says that its part is one that the model did not learn from: any but `train`. Held-out rows go in
    first, up to half, because only they say how well the model does.
    """
    found: dict[bool, list[Row]] = {True: [], False: []}
    for role, rows in sorted(parts.items()):
        held_out = role != "train"
        found[held_out] += [{**row, "id": f"{role}/{row['id']}", JUDGING: held_out} for row in rows]
    judging = _drawn(found[True], max(most // 2, most - len(found[False])), seed)
    learned = _drawn(found[False], most - len(judging), seed)
    return dataset_rows.version(home, judging + learned, ref="reference")


def _drawn(rows: list[Row], most: int, seed: int) -> list[Row]:
    if len(rows) <= most:
        return rows
    chosen = np.sort(np.random.default_rng(seed).choice(len(rows), most, replace=False))
    return [rows[i] for i in chosen]


def build(dataset: DatasetVersion, look: Observe, columns: Columns, home: Home) -> Reference:
    """Measure the reference's rows and keep the statistics; `look` is the champion that reads them."""
    rows = dataset_rows.read(home, dataset)
    seen = look(rows)
    sample = measure(seen.rows, columns, seen.embeddings, [bool(row[JUDGING]) for row in rows])
    return Reference(dataset=dataset, statistics=_keep(sample, home))


def _keep(sample: Sample, home: Home) -> Artifact:
    from safetensors.numpy import save_file

    numbers: dict[str, np.ndarray] = {
        "descriptors": sample.descriptors,
        "terms.data": sample.terms.data,
        "terms.indices": sample.terms.indices.astype(np.int32),
        "terms.indptr": sample.terms.indptr.astype(np.int64),
        "confidences": sample.confidences,
        JUDGING: sample.judging.astype(np.uint8),
    }
    if sample.embeddings is not None:
        numbers["embeddings"] = sample.embeddings
    with home.store.scratch() as scratch:
        folder = scratch / "reference"
        folder.mkdir()
        save_file({name: np.ascontiguousarray(value) for name, value in numbers.items()}, folder / _NUMBERS)
        names = {"ids": sample.ids.tolist(), "predictions": sample.predictions.tolist()}
        (folder / _NAMES).write_text(json.dumps(names, ensure_ascii=False), encoding="utf-8")
        return home.store.put(folder, "reference")


def load(reference: Reference, columns: Columns, home: Home) -> Sample:
    """Return the reference as a sample, from its rows and its statistics; nothing is measured again.

    Raises `Corrupt` where the two do not belong together.
    """
    from safetensors.numpy import load_file
    from scipy.sparse import csr_matrix

    rows, folder = dataset_rows.read(home, reference.dataset), home.store.open(reference.statistics)
    numbers = load_file(folder / _NUMBERS)
    names = json.loads((folder / _NAMES).read_text(encoding="utf-8"))
    if names["ids"] != [row["id"] for row in rows]:
        raise Corrupt(f"{folder}: the statistics are not those of the reference {reference.dataset.digest[:12]}")
    bare = measure([{**row, "text": ""} for row in rows], columns)
    parts = tuple(numbers[f"terms.{name}"] for name in ("data", "indices", "indptr"))
    return Sample(
        ids=bare.ids,
        texts=objects([row["text"] for row in rows]),
        descriptors=numbers["descriptors"],
        terms=csr_matrix(parts, shape=(len(rows), 2 * terms.WIDTH)),
        embeddings=numbers.get("embeddings"),
        labels=bare.labels,
        predictions=objects(names["predictions"]),
        confidences=numbers["confidences"],
        segments=bare.segments,
        times=bare.times,
        judging=numbers[JUDGING].astype(bool),
    )
