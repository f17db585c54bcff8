"""The real command in a process of its own: one JSON object and the right exit code, whatever goes wrong."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HOLDFAST = str(Path(sys.executable).with_name("holdfast"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("run",), "Missing argument 'file'"),
        (("run", "toy.yaml", "--sett", "a=1"), "No such option: --sett"),
        (("run", "none.yaml"), "none.yaml: no such pipeline file"),
        (("up", "none.yaml"), "none.yaml: no such pipeline file"),
        (("up", "--pipelines", "none"), "none, key `--pipelines`: no such folder"),
        (("merge", "a/1", "--how", "ties", "--name", "x", "--weights", "inf"), "key `--weights`: inf is no weight"),
        (("up", "--every", "soon"), "key `--every`: 'soon' is no span of time; expected such as 90s, 15m or 1h"),
    ],
)
def test_a_wrong_command_is_one_json_object_and_exits_with_2(command: Callable, line: tuple, said: str) -> None:
    code, answer, stderr = command(*line)
    assert (code, answer["kind"]) == (2, "BadInput") and said in answer["error"] and said in stderr
    assert "Traceback" not in stderr


def test_two_pipelines_of_one_name_are_not_brought_up(command: Callable, toy: Path) -> None:
    (toy.parent / "twin.yaml").write_text(toy.read_text())
    code, answer, _ = command("up", "--pipelines", str(toy.parent))
    assert code == 2 and "toy.yaml has the same name" in answer["error"]


def test_nothing_is_up_before_up(command: Callable) -> None:
    code, answer, _ = command("status")
    assert (code, answer["up"]) == (1, False)
    assert command("down")[:2] == (0, {"home": answer["home"], "stopped": 0})


def test_an_interrupted_init_leaves_no_half_file(tmp_path: Path) -> None:
    """`init` is stopped by a full disk (the largest file may have 10 bytes); then it succeeds, and never overwrites."""
    (tmp_path / "a.csv").write_text("text,label\ngood,x\nbad,y\n")
    init = [HOLDFAST, "init", "a.csv"]
    limited = subprocess.run(["prlimit", "--fsize=10", *init], cwd=tmp_path, capture_output=True, text=True)
    assert limited.returncode == 1 and "Make room" in limited.stderr, limited.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert subprocess.run(init, cwd=tmp_path, capture_output=True).returncode == 0
    before = (tmp_path / "a.yaml").read_bytes()
    again = subprocess.run(init, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 2 and "exists already" in again.stderr
    assert (tmp_path / "a.yaml").read_bytes() == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Return a function that gives a disk of so many megabytes, the same one every time; needs root."""
    place = tmp_path / "disk"
    place.mkdir()

    def of(megabytes: int) -> Path:
        options = f"size={megabytes}m" + (",remount" if os.path.ismount(place) else "")
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True)
        if done.returncode:
            pytest.skip("a small disk can only be made by root")
        return place

    yield of
    subprocess.run(["umount", str(place)], capture_output=True, check=False)


@pytest.mark.slow
def test_a_run_on_a_nearly_full_disk_is_not_begun(
    command: Callable, toy: Path, small_disk: Callable[[int], Path]
) -> None:
    home = small_disk(8) / "home"
    code, answer, stderr = command("run", str(toy), home=home)
    assert code == 1 and "the disk is nearly full" in answer["error"] and "Make room" in stderr, (answer, stderr)
    small_disk(200)
    code, answer, stderr = command("run", str(toy), home=home)
    assert code == 0 and answer["verdict"] == "promoted", stderr
