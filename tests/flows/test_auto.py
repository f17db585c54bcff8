"""`parameters: auto` the whole way, on the tiny encoder."""

from pathlib import Path

import pytest
import yaml

from tests.flows.conftest import drive

pytestmark = pytest.mark.slow


def test_auto_chooses_tunes_and_is_not_run_again(toy: Path, tmp_path: Path) -> None:
    told = yaml.safe_load(toy.read_text())
    toy.write_text(yaml.safe_dump({**told, "parameters": {"auto": {"most": 2, "candidates": ["low", "high"]}}}))
    first, again, other = drive(tmp_path, {"file": toy}, {"file": toy}, {"file": toy, "set": ["control.looks=2"]})
    assert first["verdict"] == "promoted"
    chosen = first["selection"]["names"][0]
    assert chosen in ("low (chosen by auto)", "high (chosen by auto)")
    assert {stage["name"] for stage in again["stages"] if stage["cached"]} >= {"assess", "select", "tune", "evaluate"}
    assert next(stage["cached"] for stage in other["stages"] if stage["name"] == "select")
    page = Path(first["report"]).read_text(encoding="utf-8")
    assert "How it was chosen" in page and first["selection"] == again["selection"]
