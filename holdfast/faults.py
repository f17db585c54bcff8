"""Faults of the machine, told as our errors: a full disk, a file that may not be written, memory that ran out.

Libraries wrap such a fault in errors of their own (SQLite's, MLflow's, DVC's, safetensors'), so the causes of an error
are looked through, and their texts where the number of the fault is lost.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from holdfast.errors import BadInput, DiskFull, HoldfastError, OutOfMemory

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_TEXTS = (*(os.strerror(number) for number in sorted(_FULL)), "database or disk is full")
ROOM = 32_000_000  # bytes free below which a run is not begun: the databases of a fresh home alone take several MB
_MEMORY_TEXTS = ("out of memory", "not enough memory", "allocate memory", "bad_alloc")


def told(error: BaseException, folder: Path | None) -> HoldfastError | None:
    """Return what to tell of an error: our own as it is, a fault of the machine as ours, None for anything else.

    `folder` is where the command writes, named where the fault does not say which file it was about.
    """
    if isinstance(error, BadInput | DiskFull | OutOfMemory):
        return error
    if full(error):
        return disk_full(error, folder, str(error) if isinstance(error, HoldfastError) else "")
    if out_of_memory(error):
        return OutOfMemory("memory ran out. Lower training.batch or training.max_length, or end other programs")
    if isinstance(error, HoldfastError):
        return error
    if isinstance(error, OSError) and error.strerror:
        return HoldfastError(f"{error.filename or folder or 'the system'}: {error.strerror}")
    return None


def check_room(folder: Path) -> None:
    """Raise `DiskFull` where less than `ROOM` is free: what starts then fails late, and says something else."""
    if shutil.disk_usage(folder).free < ROOM:
        said = f"{folder}: the disk is nearly full{_free(folder)}; expected at least {ROOM / 1e6:g} MB"
        raise DiskFull(f"{said}. Make room and run the same command again, or choose another folder with --home")


def full(error: BaseException) -> bool:
    """Say whether an error came about because a disk, a quota or a file's largest size was used up."""
    return any(
        (isinstance(cause, OSError) and cause.errno in _FULL) or any(text in str(cause) for text in _FULL_TEXTS)
        for cause in _causes(error)
    )


def out_of_memory(error: BaseException) -> bool:
    """Say whether an error came about because memory could not be had, the processor's or a device's."""
    return any(
        isinstance(cause, MemoryError)
        or (isinstance(cause, OSError) and cause.errno == errno.ENOMEM)
        or (isinstance(cause, RuntimeError) and any(text in str(cause).lower() for text in _MEMORY_TEXTS))
        for cause in _causes(error)
    )


def disk_full(error: BaseException, folder: Path | None, detail: str = "") -> DiskFull:
    """Return the error for a full disk: which folder, how much is free there, what is kept, what to do."""
    causes = list(_causes(error))
    files = [c.filename2 or c.filename for c in causes if isinstance(c, OSError) and c.errno in _FULL]
    named = [file for file in files if file]  # where a copy failed, `filename` is the one that was read
    why = next((text for text in _FULL_TEXTS if any(text in str(cause) for cause in causes)), "No space left")
    place = str(named[0] if named else folder or "the disk")
    said = f"{place}: cannot be written: {why[0].lower()}{why[1:]}{_free(folder)}" + (f"; {detail}" if detail else "")
    return DiskFull(f"{said}. Make room and run the same command again: it goes on from the last finished step")


def _free(folder: Path | None) -> str:
    """Say how much is free on the disk of a folder, or of the nearest folder above it that is there."""
    above = next((place for place in (folder, *folder.parents) if place.is_dir()), None) if folder else None
    return f" ({shutil.disk_usage(above).free / 1e6:,.1f} MB free on the disk of {folder})" if above else ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
