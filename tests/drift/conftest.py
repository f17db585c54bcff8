"""The made world of benchmarks/drift, small, and samples made by hand."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from holdfast.drift.sample import Sample, measure
from holdfast.drift.settings import Columns

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def worlds() -> Iterator[ModuleType]:
    """The benchmark's worlds and changes."""
    path = sys.path[:]
    spec = importlib.util.spec_from_file_location("drift_worlds", ROOT / "benchmarks" / "drift" / "worlds.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["drift_worlds"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = path


@pytest.fixture(scope="session")
def world(worlds: ModuleType) -> Any:
    """A smaller made world."""
    return worlds.made(sizes=(2000, 2000, 600))


@pytest.fixture
def sample() -> Callable[..., Sample]:
    """Return `sample(n, **columns)`: n rows with the given columns."""

    def make(n: int, embeddings: np.ndarray | None = None, **columns: list[Any]) -> Sample:
        columns = {"text": [f"text number {i}" for i in range(n)], **columns}
        rows = [{"id": str(i), **{name: values[i] for name, values in columns.items()}} for i in range(n)]
        return measure(rows, Columns(), embeddings)

    return make
