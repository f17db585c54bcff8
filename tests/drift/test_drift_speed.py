"""A window of 10,000 rows is checked within the time allowed; benchmarks/drift/speed.py measures larger ones."""

import importlib.util
import time
from pathlib import Path

import pytest

from holdfast.drift import explain
from holdfast.home import Home

SPEED = Path(__file__).resolve().parents[2] / "benchmarks" / "drift" / "speed.py"


@pytest.mark.slow
def test_ten_thousand_rows_take_seconds_and_no_check_is_left_out(home: Home, tmp_path: Path) -> None:
    """CPU seconds of all threads, which a busy machine changes little."""
    spec = importlib.util.spec_from_file_location("drift_speed", SPEED)
    speed = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(speed)
    (tmp_path / "reference.json").write_text(speed.keep(10_000, home).model_dump_json())
    begun = time.process_time()
    found = speed.one(tmp_path, 10_000, time.time())
    assert time.process_time() - begun < speed.LIMITS[10_000]
    assert {name for name, verdict in found["checks"].items() if verdict == "drifted"} >= {"content", "embedding"}
    assert len(found["checks"]) == 8 and found["sampled"]["content"] == [10_000, 10_000]
    assert found["sampled"]["estimate"][0] == 10_000, "no check may save time by being skipped"
    assert explain.MOST_ROWS < 10_000 and (tmp_path / "report" / "report.html").stat().st_size > 10_000
