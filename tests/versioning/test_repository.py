"""The private DVC repository: md5s are DVC's, only changes are copied, its lock is waited for, nothing leaks out."""

import contextlib
import hashlib
import json
import logging
import os
import subprocess
import sys
import time

import pytest

from holdfast.errors import HoldfastError
from holdfast.versioning import repository

HOLD = """
import sys, time
import zc.lockfile
lock = zc.lockfile.LockFile(sys.argv[1])
print("held", flush=True)
time.sleep(float(sys.argv[2]))
lock.close()
"""
OUTPUT = "the output"


@contextlib.contextmanager
def held(home, seconds):
    """Another process that holds DVC's lock for so long."""
    place = home.data / ".dvc" / "tmp" / "lock"
    process = subprocess.Popen([sys.executable, "-c", HOLD, place, str(seconds)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        yield
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "outside" / "some ${data} (1).csv"
    path.parent.mkdir()
    path.write_text("text,label\na,b\n")
    return path


@pytest.fixture
def impatient_dvc(monkeypatch):
    """DVC gives up on its lock after a fifth of a second instead of three, so that our own waiting is what is seen."""
    monkeypatch.setattr("dvc.lock.DEFAULT_TIMEOUT", 0.2)


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def tree(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_what_dvc_holds_is_the_file_under_its_md5(home, source):
    found = repository.imported(home, [source])[source]
    assert found.md5 == md5(source)
    assert found.path.read_bytes() == source.read_bytes()
    assert home.data in found.path.parents


def test_a_changed_source_is_imported_anew_and_the_old_bytes_stay(home, source):
    old = repository.imported(home, [source])[source]
    before = old.path.read_bytes()
    source.write_text("text,label\nchanged,b\n")
    new = repository.imported(home, [source])[source]
    assert new.md5 == md5(source) != old.md5
    assert old.path.read_bytes() == before
    source.write_bytes(before)
    assert repository.imported(home, [source])[source] == old


TORN = {  # how files of DVC's lie when the process that wrote them is killed: opened and not yet written, or in part
    "list of readers and writers, empty": (".dvc/tmp/rwlock", lambda text: ""),
    "list of readers and writers, in part": (".dvc/tmp/rwlock", lambda text: '{"write": {"'),
    "list that names a process number used anew": (
        ".dvc/tmp/rwlock",
        lambda text: json.dumps({"write": {OUTPUT: {"pid": os.getppid(), "cmd": "repro"}}}),
    ),
    "stage, empty": ("imports/*.dvc", lambda text: ""),
    "stage, in part": ("imports/*.dvc", lambda text: text[: text.index("outs") + 9]),
    "stage, but for the last letters": ("imports/*.dvc", lambda text: text.rstrip()[:-3]),
}


@pytest.mark.parametrize("torn", TORN)
@pytest.mark.parametrize("again", ["the same", "another"])
def test_what_a_killed_process_left_in_part_is_mended(home, source, torn, again, impatient_dvc, monkeypatch):
    found = repository.imported(home, [source])
    monkeypatch.setattr(repository, "LOCK_TIMEOUT", 1.0)
    where, tear = TORN[torn]
    other = source.with_name("other.csv")
    other.write_text("text,label\nc,d\n")
    (output,) = (path for path in (home.data / "imports").iterdir() if path.suffix == ".csv")
    (place,) = home.data.glob(where)
    place.write_text(tear(place.read_text()).replace(OUTPUT, str(output)))
    wanted = source if again == "the same" else other
    assert repository.imported(home, [wanted])[wanted].md5 == md5(wanted)
    assert repository.imported(home, [source, other])[source] == found[source]


def test_nothing_to_do_is_quick_and_changes_nothing(home, source):
    others = [source.with_name(f"{i}.jsonl") for i in range(5)]
    for path in others:
        path.write_text(f'{{"text": "{path.name}"}}\n')
    first = repository.imported(home, [source, *others])
    stages = {path: path.stat().st_mtime_ns for path in (home.data / "imports").iterdir()}
    start = time.perf_counter()
    assert repository.imported(home, [source, *others]) == first
    assert time.perf_counter() - start < 6 * 0.3
    assert {path: path.stat().st_mtime_ns for path in (home.data / "imports").iterdir()} == stages


def test_a_damaged_copy_is_made_again(home, source):
    repository.imported(home, [source])
    copy = next(path for path in (home.data / "imports").iterdir() if path.suffix == ".csv")
    copy.unlink()
    copy.write_text("tampered")
    assert repository.imported(home, [source])[source].path.read_bytes() == source.read_bytes()
    assert copy.read_bytes() == source.read_bytes()


def test_two_sources_of_one_name_are_two_stages(home, source):
    twin = source.parent / "twin" / source.name
    twin.parent.mkdir()
    twin.write_text("text,label\nother,b\n")
    found = repository.imported(home, [source, twin])
    assert (found[source].md5, found[twin].md5) == (md5(source), md5(twin))


def test_nothing_is_written_beside_the_source_or_in_an_outer_repository(home, source, tmp_path, capfd):
    outer = source.parent / ".dvc"  # the source lies in a DVC repository of its own
    outer.mkdir()
    (outer / "config").write_text("")
    before, environment = tree(source.parent), dict(os.environ)
    repository.imported(home, [source])
    assert tree(source.parent) == before
    assert dict(os.environ) == environment
    assert {path.name for path in tmp_path.iterdir()} == {"home", "outside"}
    assert capfd.readouterr() == ("", "")


def test_it_works_from_any_folder_and_through_a_link(home, source, tmp_path, monkeypatch):
    from holdfast.home import Home

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to(home.path)
    assert repository.imported(Home(tmp_path / "link"), [source])[source].md5 == md5(source)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_the_lock_is_waited_for(home, source, caplog, impatient_dvc):
    repository.imported(home, [source])
    source.write_text("text,label\nnew,b\n")
    start = time.monotonic()
    with held(home, 3), caplog.at_level(logging.WARNING):
        assert repository.imported(home, [source])[source].md5 == md5(source)
        assert time.monotonic() - start > 2.5
    assert caplog.text.count("waiting for another process") == 1


def test_waiting_ends_with_a_message_that_says_what_to_do(home, source, monkeypatch, impatient_dvc):
    repository.imported(home, [source])
    monkeypatch.setattr(repository, "LOCK_TIMEOUT", 0.0)
    with held(home, 60), pytest.raises(HoldfastError, match=r"held DVC's lock for 0 s.*process id.*run again"):
        repository.imported(home, [source])


def test_processes_that_start_together_all_get_their_data(home, source):
    others = [source.with_name(f"{i}.csv") for i in range(3)]
    for path in others:
        path.write_text(f"text,label\n{path.name},b\n")
    code = (
        "import sys, pathlib; from holdfast.home import Home; from holdfast.versioning import repository\n"
        "print(repository.imported(Home(pathlib.Path(sys.argv[1])), [pathlib.Path(sys.argv[2])]).popitem()[1].md5)"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, home.path, path], stdout=subprocess.PIPE, text=True)
        for path in others
    ]
    assert [process.communicate()[0].strip() for process in started] == [md5(path) for path in others]


def test_a_failure_of_dvc_says_why(home, source):
    repository.imported(home, [source])
    source.unlink()
    with pytest.raises(HoldfastError, match=r"DVC could not import the data .*does not exist"):
        repository.imported(home, [source])
