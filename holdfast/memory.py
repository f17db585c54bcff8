"""Freed memory is kept for the next tensor.

glibc gives large pieces back to the system as soon as they are freed, and has to ask for the next one page by page: a
tuning step of MiniLM took 28,000 page faults, 9% of its processor time. With the limits raised they are gone. Other
allocators are left alone.

And what is there already is not looked through again for garbage: `Trainer` has Python do so at the start of every
tuning, which took 0.3 s, nearly all of it among the objects of imported modules.

After a stage all of it goes back: its models hang together in circles, and what the next stage needs has other sizes.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import sys
from collections.abc import Iterator

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD
_MOST = 2**31 - 1
_LARGEST = (1 << 30, 1 << 25)  # bytes; some versions of glibc take no more than the second


@functools.cache
def keep() -> bool:
    """Have this process keep what it frees; say whether its allocator can be told so."""
    if sys.platform != "linux":
        return False
    try:
        tell = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return any(tell(_MMAP_THRESHOLD, size) for size in _LARGEST) and bool(tell(_TRIM_THRESHOLD, _MOST))


@contextlib.contextmanager
def settled() -> Iterator[None]:
    """Have the collector of garbage pass over whatever is there already; inside another such context, do nothing."""
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextlib.contextmanager
def given_back() -> Iterator[None]:
    """Afterwards collect the garbage of what was done meanwhile, and give the system the memory that is free."""
    with settled():
        try:
            yield
        finally:
            gc.collect()
            if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_trim"):
                ctypes.CDLL(None).malloc_trim(0)
