"""A run that stands still, is overtaken, and wakes up writes nothing that counts: real processes that are stopped."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash import zombies

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


def test_who_was_overtaken_ends_with_a_clear_error_and_changes_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "tests.crash.zombies", str(tmp_path)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=900, env=environment)
    found = {answer["point"]: answer for answer in map(json.loads, done.stdout.splitlines())}
    assert list(found) == [*zombies.TUNE, *zombies.REGISTER], done.stderr
    for point, seen in found.items():
        assert seen["stopped"], point
        assert seen["told"].startswith("Fenced: this adaptation of "), (point, seen["told"])
        assert "was begun under token 1, and " in seen["told"] and "took over under token 2" in seen["told"]
        assert seen["verdict"] == "promoted" and seen["after"] == seen["before"], point
        assert (seen["after"]["versions"], seen["after"]["champions"]) == (["1"], ["1"]), point
        assert seen["after"]["runs"] == ["FINISHED"], point
        assert seen["after"]["aliases"] == {"champion": "1"} and seen["after"]["checkpoints"] == [], point
