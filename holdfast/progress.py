"""Progress of long work: stages report, whoever runs them listens (a terminal, a log, or nobody)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Listener = Callable[[str, int, int, dict[str, float]], None]
_listeners: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have `listener(stage, done, total, figures)` called for every report inside the block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def report(stage: str, done: int, total: int, figures: dict[str, float] | None = None) -> None:
    """Tell the listeners that `stage` has done `done` of `total` units, with figures such as the loss."""
    for listener in _listeners:
        listener(stage, done, total, figures or {})
