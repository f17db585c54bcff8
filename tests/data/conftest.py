"""The scripts of `data`, which are imported from their folder."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pretrain(monkeypatch):
    """The script `data/pretrain.py`."""
    monkeypatch.syspath_prepend(str(ROOT / "data"))
    import pretrain

    return pretrain
