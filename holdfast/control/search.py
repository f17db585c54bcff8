"""In which order candidates are tried once a tuning has ended, until the contracts are kept or the budget is spent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from holdfast.forgetting import watch

if TYPE_CHECKING:
    from holdfast.control.weights import Candidate
    from holdfast.forgetting.watch import Look

_LEAST = 1 / 32


@dataclass(frozen=True)
class Seen:
    """A candidate and how it does on `valid`."""

    candidate: Candidate
    look: Look


See = Callable[["Candidate"], "Look | None"]


def run(points: Sequence[Seen], see: See, shares: Sequence[float]) -> None:
    """Try candidates beyond the points along the way; `see` gives None once nothing can be paid any more.

    The line from the point that learned most to the start model is searched, then that of the next, until one has a
    share that keeps every contract. On a line contracts are kept up to some share and broken beyond it, or nearly so:
    the search halves over the `shares` given. Where none of them keeps, it goes on to half the smallest, and half that.
    It does not go on between a share that keeps and one that breaks: on a few rows what keeps by a hair is chance.
    A point that keeps every contract itself ends the search: points that learned less are no better.
    """
    for point in sorted(points, key=lambda seen: (-seen.look.gain, seen.look.loss)):
        if point.look.kept or _line(point, see, shares) is not False:
            break


def _line(point: Seen, see: See, shares: Sequence[float]) -> bool | None:
    """Search the line of a point; return whether anything on it keeps, None once nothing can be paid any more."""
    kept, broken = 0.0, 1.0
    while (share := _between(kept, broken, shares)) is not None:
        look = see(replace(point.candidate, share=share))
        if look is None:
            return None
        kept, broken = (share, broken) if look.kept else (kept, share)
    return kept > 0


def _between(kept: float, broken: float, shares: Sequence[float]) -> float | None:
    """Return the next share to try, or None; the start model itself (0) is never reached."""
    middle = (kept + broken) / 2
    given = [share for share in shares if kept < share < broken]
    if given:
        return min(given, key=lambda share: (abs(share - middle), share))
    return middle if kept == 0 and middle >= _LEAST else None


def best(seen: Sequence[Seen]) -> Seen:
    """Return the best candidate: see `holdfast.forgetting.watch.best`."""
    return seen[watch.best([one.look for one in seen])]


def qualifies(seen: Seen) -> bool:
    """Say whether a candidate keeps every contract and has learned something."""
    return seen.look.kept and seen.look.gain > 0
