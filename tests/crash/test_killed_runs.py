"""A run killed by the system is gone on with by the next one, through the real flow: same bytes, nothing left behind.

Two points and two methods here; `benchmarks/kill/run.py` goes through all points and all methods.
"""

import contextlib
import signal
import time
from pathlib import Path

import pytest

from benchmarks.kill import points, rows, trials, world
from holdfast import choices, methods, spec
from holdfast.home import Home

pytestmark = pytest.mark.slow
KILLED = {"parameters/layers": ("mid-epoch",), "parameters/lora": ("mid-epoch", "between ledger and alias")}


def _processes_of(home: Path) -> list[str]:
    """Return the command lines of the processes that have this home in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"HOLDFAST_HOME={home}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def _nothing_runs_in(home: Path) -> bool:
    deadline = time.monotonic() + 60
    while _processes_of(home) and time.monotonic() < deadline:
        time.sleep(0.2)
    return not _processes_of(home)


def test_killed_in_mid_epoch_and_again_between_ledger_and_alias(tmp_path: Path) -> None:
    world.make(tmp_path)  # with `first.yaml`, which makes what both start from
    files, whole, home = [world.pipeline(tmp_path, method) for method in KILLED], tmp_path / "whole", tmp_path / "home"
    for file, killed_at in zip(files, KILLED.values(), strict=True):
        for point in killed_at:
            assert trials.run_flow(point, home, file)[0] == -signal.SIGKILL, point
            assert _nothing_runs_in(home), f"outlives the killed run: {_processes_of(home)}"
    uninterrupted, completed = (trials.run_flow("", place, *files)[1] for place in (whole, home))
    for a, b in zip(uninterrupted, completed, strict=True):
        wanted = trials.promoted(a, whole, runs=3)
        assert set(wanted) == {"adapter_model.safetensors", "adapter_config.json"}
        assert trials.promoted(b, home, runs=3) == wanted
    assert list(trials.leftovers(Home(home))) == []


def test_every_point_is_a_function_of_the_project() -> None:
    """A function that was renamed would make a point that nothing comes to."""
    for point in points.ALL:
        assert callable(points.function(point.at)) and (not point.within or callable(points.function(point.within)))
    assert len({point.name for point in points.ALL}) == len(points.ALL)


def test_every_choice_and_preset_has_a_row_whose_file_can_be_read(tmp_path: Path) -> None:
    every = rows.every()
    (tmp_path / "paraphrase.txt").write_text("{prompt} {gold}\n")
    assert {rows.of(preset) for preset in methods.PRESETS} <= set(every)
    assert {f"{axis}/{name}" for axis in choices.AXES for name in choices.names(axis)} <= set(every)
    for row in every:
        pipeline = spec.load(world.pipeline(tmp_path, row))
        axis, _, name = row.partition("/")
        assert row.startswith("words/") or name == pipeline.method or (axis, name) in pipeline.chosen()
