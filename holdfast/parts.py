"""Half-made things: folders named `part-...`, each locked by its maker for as long as that process lives.

What is to be whole or absent is made in such a folder and then renamed to its place. The system lets go of a lock when
its holder ends, however it ends, so a part that nobody holds was left by a killed process and can be removed. Where the
disk knows no locks, parts are never taken for abandoned.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "part-"


@contextmanager
def making(place: Path) -> Iterator[Path]:
    """Give an empty folder inside `place`, removed on exit (what was renamed away stays)."""
    place.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        with in_use(place):  # `sweep` must not see a folder before it is locked
            folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
            stack.enter_context(in_use(folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Keep a folder from being taken for abandoned inside the block; several processes may do so at once."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Say whether nobody uses the folder; if so, nobody begins to inside the block."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield False
    else:
        yield True
    finally:
        os.close(handle)


def sweep(place: Path) -> None:
    """Remove the parts inside `place` whose makers are no more."""
    with _alone(place) as alone:
        for part in place.glob(f"{PREFIX}*") if alone else ():
            remove(part)


def remove(folder: Path) -> None:
    """Remove a folder that nobody uses."""
    with _alone(folder) as alone:
        if alone:
            shutil.rmtree(folder, ignore_errors=True)
