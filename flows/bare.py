"""Flows and tasks without an orchestrator: the same bodies, called as the functions they are.

A backtest goes through hundreds of rounds, each of which would otherwise be told to a server. What counts, the book,
the ledger and the registry, is written all the same.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from prefect import Flow, Task

from holdfast.home import Home

_runners: list[Any] = []  # of the blocks that we are in; the innermost one counts


@contextmanager
def without_prefect(runner: Any) -> Iterator[None]:
    """Have flows and tasks that are called through `plain`, and stages, run bare inside the block.

    `runner`, called with a home, makes what runs a stage there (`flows.light.Light`, `flows.known.Known`).
    """
    _runners.append(runner)
    try:
        yield
    finally:
        _runners.pop()


def on() -> bool:
    """Say whether flows and tasks run bare."""
    return bool(_runners)


def runner(home: Home) -> Any:
    """Return what runs stages in a home here."""
    return _runners[-1](home)


def plain(called: Flow | Task) -> Callable[..., Any]:
    """Return a flow or a task to call: its function where they run bare, else itself."""
    function: Callable[..., Any] = called.fn if on() else called
    return function
