"""A file's digest is read once for as long as the file was not touched, and again after any change."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast import digests


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Give the number of times that bytes were hashed."""
    made: list[int] = []
    real = hashlib.sha256

    def counted(*given: bytes) -> "hashlib._Hash":
        made.append(1)
        return real(*given)

    monkeypatch.setattr(hashlib, "sha256", counted)
    return lambda: len(made)


def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a minute pass since everything that was written."""
    now = digests.time.time() + 60
    monkeypatch.setattr(digests.time, "time", lambda: now)


def test_an_untouched_file_is_read_once(
    tmp_path: Path, reads: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"one")
    settled(monkeypatch)
    first = digests.of_file(file)
    assert digests.of_file(file) == first == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    assert reads() == 1
    os.link(file, tmp_path / "b")  # a change of the inode, though not of the bytes
    assert digests.of_file(file) == first and reads() == 2


def test_a_change_that_hides_its_time_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"one")
    settled(monkeypatch)
    first, was = digests.of_file(file), file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert digests.of_file(file) == hashlib.sha256(b"two").hexdigest() != first


def test_a_file_just_written_is_not_believed(tmp_path: Path, reads: Callable[[], int]) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"one")
    digests.of_file(file)
    digests.of_file(file)
    assert reads() == 2
