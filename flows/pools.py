"""Pools of processes that end when the process that began them does, however that ended."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process


def of(jobs: int, begin: Callable[[], None] | None = None, per_task: bool = False) -> ProcessPoolExecutor:
    """Return a pool of `jobs` new interpreters, each of which calls `begin` first; `per_task` has one for each task."""
    return ProcessPoolExecutor(
        jobs,
        mp_context=get_context("spawn"),
        initializer=_begin,
        initargs=(begin,),
        max_tasks_per_child=1 if per_task else None,
    )


def _begin(begin: Callable[[], None] | None) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if begin is not None:
        begin()


def _end_with_parent() -> None:
    """Wait for the end of the parent, killed perhaps: nobody takes what is done here, nor gives more to do."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
