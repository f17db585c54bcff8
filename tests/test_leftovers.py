"""What killed processes leave is removed, what living ones use is not, and checkpoints last for a while."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from holdfast import leftovers, parts
from holdfast.home import Home

ROOT = Path(__file__).resolve().parents[1]
_MAKER = """
import os, signal, sys
from pathlib import Path
from holdfast import parts

with parts.making(Path(sys.argv[1])) as part:
    (part / "half").write_text("half of it")
    print(part, flush=True)
    if sys.argv[2:] == ["dies"]:
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
"""


def _maker(place: Path, *how: str) -> tuple[subprocess.Popen, Path]:
    line = [sys.executable, "-c", _MAKER, str(place), *how]
    maker = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    return maker, Path(maker.stdout.readline().strip())


def _places(home: Home) -> list[Path]:
    report = home.reports / "toy" / "version-1"
    return [home.path, home.store.root / "scratch", home.cache / "scores", home.checkpoints / "a tuning", report]


def test_halves_of_killed_processes_go_and_those_of_living_ones_stay(home: Home) -> None:
    alive, used = _maker(home.store.root / "scratch")
    for place in _places(home):
        dead, left = _maker(place, "dies")
        assert dead.wait() == -signal.SIGKILL and (left / "half").exists()
    leftovers.remove_halves(home)
    assert list(home.path.rglob(f"{parts.PREFIX}*")) == [used] and (used / "half").exists()
    alive.communicate("")
    assert list(home.path.rglob(f"{parts.PREFIX}*")) == []
    assert home.path.is_dir() and (home.path / "holdfast-home").exists()


def test_a_part_that_failed_is_gone_and_one_that_was_renamed_stays(tmp_path: Path) -> None:
    with parts.making(tmp_path) as part:
        (part / "whole").write_text("whole")
        part.rename(tmp_path / "whole")
    try:
        with parts.making(tmp_path):
            raise OSError
    except OSError:
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_a_half_written_result_is_no_result(home: Home) -> None:
    home.results.mkdir()
    for name, text in {"whole": '{"result": 1}', "half": '{"resul', "empty": ""}.items():
        (home.results / name).write_text(text)
    leftovers.remove_halves(home)
    assert [path.name for path in home.results.iterdir()] == ["whole"]


def _tuning(home: Home, name: str, days: float) -> Path:
    folder = home.checkpoints / name
    (folder / "checkpoint-3").mkdir(parents=True)
    then = time.time() - days * 24 * 60 * 60
    os.utime(folder, (then, then))
    return folder


def test_checkpoints_that_nobody_goes_on_with_end_after_a_week(home: Home) -> None:
    young, used, _ = _tuning(home, "young", 6.9), _tuning(home, "used", 30), _tuning(home, "old", 7.1)
    with parts.in_use(used):
        leftovers.remove_old(home)
        assert sorted(home.checkpoints.iterdir()) == sorted([used, young])
    leftovers.remove_halves(home)
    assert sorted(home.checkpoints.iterdir()) == sorted([used, young]), "the next run may go on from them"
    leftovers.remove_old(home)
    assert list(home.checkpoints.iterdir()) == [young]
