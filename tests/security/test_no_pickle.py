"""No pickle anywhere: not in the source, and the scanner that looks through a home finds every kind of one."""

import base64
import bz2
import gzip
import io
import json
import lzma
import pickle
import sqlite3
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from .pickles import in_bytes, offences, pickled_files

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    path
    for folder in ("holdfast", "tasks", "flows", "benchmarks", "data", "infra", "mlflow")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
VALUE = {"a": [1, 2.5, "three", None], "b": ("x",) * 3}


def test_the_source_neither_reads_nor_writes_pickles():
    assert len(SOURCES) > 80
    found = {str(path.relative_to(ROOT)): offences(path.read_text(encoding="utf-8")) for path in SOURCES}
    assert {name: bad for name, bad in found.items() if bad} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import dump",
        "import cloudpickle as c",
        "def f():\n    import dill",
        "import torch\ntorch.save({}, 'a')",
        "import torch as t\nt.load('a')",
        "from torch import load",
        "import numpy as np\nnp.load('a.npy')",
        "import numpy as np\nnp.load('a.npy', allow_pickle=True)",
        "frame.to_pickle('a')",
        "import pandas as pd\npd.read_pickle('a')",
        "model.save_pretrained('a', safe_serialization=False)",
        "load('a', weights_only=False)",
        "import yaml\nyaml.load(text, Loader=yaml.Loader)",
    ],
)
def test_source_that_uses_pickles_is_seen(line):
    assert len(offences(line)) >= 1


@pytest.mark.parametrize(
    "line",
    [
        "import json\njson.load(stream)",
        "import numpy as np\nnp.load('a.npy', allow_pickle=False)",
        "import yaml\nyaml.safe_load(text)",
        "model.save_pretrained('a', safe_serialization=True)",
        "models.load(start, home)",
    ],
)
def test_source_that_does_not_is_left_alone(line):
    assert offences(line) == []


def torch_file(**options) -> bytes:
    stream = io.BytesIO()
    torch.save({"weight": torch.ones(3)}, stream, **options)
    return stream.getvalue()


def array_file(array: np.ndarray, save=np.save) -> bytes:
    stream = io.BytesIO()
    save(stream, array)
    return stream.getvalue()


def zipped(name: str, data: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, data)
    return stream.getvalue()


PLAIN = pickle.dumps(VALUE)
OBJECTS = np.array([{"a": 1}, None], dtype=object)
PICKLED = {
    **{f"protocol-{number}": pickle.dumps(VALUE, number) for number in range(pickle.HIGHEST_PROTOCOL + 1)},
    "followed-by-array": PLAIN + bytes(64),
    "torch": torch_file(),
    "torch-legacy": torch_file(_use_new_zipfile_serialization=False),
    "npy": array_file(OBJECTS),
    "npz": array_file(OBJECTS, np.savez),
    "gzip": gzip.compress(PLAIN, mtime=0),
    "zlib": zlib.compress(PLAIN),
    "bz2": bz2.compress(PLAIN),
    "xz": lzma.compress(PLAIN),
    "zip": zipped("inner.zip", zipped("data", PLAIN)),
    "prefect-result": json.dumps({"result": base64.encodebytes(PLAIN).decode()}).encode(),
}


@pytest.mark.parametrize("kind", PICKLED)
def test_every_kind_of_pickle_is_found(kind, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(PICKLED[kind])
    (found,) = pickled_files(tmp_path)
    assert found.startswith("folder/file: ")


@pytest.mark.parametrize("suffix", [".pkl", ".pt", ".bin", ".joblib", ".PTH"])
def test_a_pickle_s_name_is_enough(suffix, tmp_path):
    (tmp_path / f"a{suffix}").write_bytes(b"")
    assert pickled_files(tmp_path) == [f"a{suffix}: named {suffix}"]


def test_a_pickle_in_a_database_is_found(tmp_path):
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("create table things (id integer, plain blob, value blob)")
        connection.execute("insert into things values (1, ?, ?)", (b"\x80 not a pickle", "text"))
    assert pickled_files(tmp_path) == []
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("insert into things values (2, ?, ?)", (b"", PLAIN))
    assert pickled_files(tmp_path) == ["a.db: a pickle in things.value"]


@pytest.mark.parametrize(
    "data",
    [
        b"", b".", b"hello.", b"It ends with a full stop.\n.", b'{"a": "gASV"}', b'{"a": "gAAAAABm not base64"}',
        b"\x80\x02", b"\x80 is a byte", "\u20ac.".encode(), gzip.compress(b"text", mtime=0), zipped("a.json", b"{}"),
        array_file(np.ones(3)), array_file(np.ones(3), np.savez), bytes(range(256)),
    ],
)  # fmt: skip
def test_other_bytes_are_not_pickles(data):
    assert in_bytes(data) is None


@pytest.mark.parametrize("names", range(1, 40, 3))
def test_safetensors_are_not_pickles_however_their_header_begins(names, tmp_path):
    tensors = {f"layer.{i}.weight": torch.zeros(2) for i in range(names)}
    save_file(tensors, tmp_path / "a.safetensors")
    assert pickled_files(tmp_path) == []


def test_a_safetensors_header_of_640_bytes_is_not_a_pickle(tmp_path):
    name = "n" * (640 - len('{"":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'))
    save_file({name: torch.zeros(1)}, tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes()[:2] == b"\x80\x02"
    assert pickled_files(tmp_path) == []
