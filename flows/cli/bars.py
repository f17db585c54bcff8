"""Progress as people see it: bars on a terminal, plain lines in a log; both on stderr."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from holdfast import progress

_TENTHS = 10


@contextmanager
def plain_lines() -> Iterator[None]:
    """Print a line whenever a stage has done another tenth of its work."""
    said: dict[str, int] = {}

    def listen(stage: str, done: int, total: int, figures: dict[str, float]) -> None:
        tenth = _TENTHS * done // max(total, 1)
        if said.get(stage) != tenth:
            said[stage] = tenth
            print(f"{stage}: {done}/{total}{_figures(figures)}", file=sys.stderr, flush=True)

    with progress.listening(listen):
        yield


@contextmanager
def rich_bars() -> Iterator[None]:
    """Draw one bar per stage, with its latest figures."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    text, figures_text = TextColumn("{task.description:>9}"), TextColumn("{task.fields[figures]}")
    columns = (text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(), figures_text)
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, int] = {}

        def listen(stage: str, done: int, total: int, figures: dict[str, float]) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total, figures="")
            bars.update(tasks[stage], completed=done, total=total, figures=_figures(figures))  # type: ignore[arg-type]

        with progress.listening(listen):
            yield


def _figures(figures: dict[str, float]) -> str:
    return "".join(f"  {name} {value:.4g}" for name, value in figures.items())


def best() -> AbstractContextManager[None]:
    """Return bars where stderr is a terminal, else plain lines."""
    return rich_bars() if sys.stderr.isatty() else plain_lines()
