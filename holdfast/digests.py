"""SHA-256 digests of bytes, files, folders and JSON values: the names under which Holdfast knows artifacts."""

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20
_SETTLED = 2.0  # seconds since a file's last change after which another change must show in its times

_State = tuple[int, int, int, int, int]
_known: dict[_State, str] = {}


def canonical_json(value: Any) -> str:
    """Return `value` as JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def of_json(value: Any) -> str:
    """Return the hex SHA-256 of a JSON-able value's canonical text."""
    return of_bytes(canonical_json(value).encode())


def of_bytes(data: bytes) -> str:
    """Return the hex SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def of_file(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes, read in pieces of 1 MiB.

    A process reads a file once for as long as the system says that it was not touched: same inode, size, time of the
    last write and time of the last change of any kind, which no program can set. A file that was changed within two
    seconds before it is read is read again the next time, since a change within one tick of the clock would not show.
    """
    with path.open("rb") as stream:
        begun, state = time.time(), _state(stream.fileno())
        known = _known.get(state)
        if known is not None:
            return known
        digest = hashlib.sha256()
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
        found = digest.hexdigest()
        if begun - state[-1] / 1e9 > _SETTLED and _state(stream.fileno()) == state:
            _known[state] = found
    return found


def _state(descriptor: int) -> _State:
    """Return what the system says of an open file; its last figure is the time of the last change, in ns."""
    of = os.fstat(descriptor)
    return of.st_dev, of.st_ino, of.st_size, of.st_mtime_ns, of.st_ctime_ns


def of_folder(folder: Path) -> dict[str, str]:
    """Return {path relative to `folder`, with forward slashes: hex SHA-256} of every file below it, sorted."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): of_file(path) for path in files}
