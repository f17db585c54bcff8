"""Flows and tasks without an orchestrator: the same bodies, called as the functions they are.

A backtest goes through hundreds of rounds, each of which would otherwise be told to a server. What counts, the book,
the ledger and the registry, is written all the same.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from prefect import Flow, Task

_depth = [0]


@contextmanager
def without_prefect() -> Iterator[None]:
    """Have flows and tasks that are called through `plain`, and stages, run bare inside the block."""
    _depth[0] += 1
    try:
        yield
    finally:
        _depth[0] -= 1


def on() -> bool:
    """Say whether flows and tasks run bare."""
    return _depth[0] > 0


def plain(called: Flow | Task) -> Callable[..., Any]:
    """Return a flow or a task to call: its function where they run bare, else itself."""
    function: Callable[..., Any] = called.fn if on() else called
    return function
