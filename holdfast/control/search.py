"""In which order candidates are tried once a tuning has ended, until the contracts are kept or the budget is spent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from holdfast.forgetting import watch

if TYPE_CHECKING:
    from holdfast.control.weights import Candidate
    from holdfast.forgetting.watch import Look

_FINEST = 1 / 32


@dataclass(frozen=True)
class Seen:
    """A candidate and how it does on `valid`."""

    candidate: Candidate
    look: Look


See = Callable[["Candidate"], "Look | None"]


def run(points: Sequence[Seen], see: See, shares: Sequence[float]) -> None:
    """Try candidates beyond the points along the way; `see` gives None once nothing can be paid any more.

    From every point the line to the start model is walked, the points that learned most first: the shares given, the
    middle one first, then halvings between the largest share that keeps every contract and the next larger one. A
    point that keeps every contract itself needs no line, and ends the search: what learned less is no better.
    """
    for point in sorted(points, key=lambda seen: (-seen.look.gain, seen.look.loss)):
        if point.look.kept or not _line(point, see, shares):
            break


def _line(point: Seen, see: See, shares: Sequence[float]) -> bool:
    """Walk the line between the start model and a point; return False once nothing can be paid any more."""
    known = {1.0: False}
    waiting = sorted(shares, key=lambda share: (abs(share - 0.5), share))
    while (share := next(iter(waiting), None) or _between(known)) is not None:
        waiting = [other for other in waiting if other != share]
        look = see(replace(point.candidate, share=share))
        if look is None:
            return False
        known[share] = look.kept
    return True


def _between(known: dict[float, bool]) -> float | None:
    """Return the middle between the largest share that keeps and the next larger one, or None when it is near enough.

    Where none keeps, that is half the smallest share: the start model itself is never reached.
    """
    low = max((share for share, kept in known.items() if kept), default=0.0)
    high = min(share for share in known if share > low)
    return (low + high) / 2 if high - low > _FINEST else None


def best(seen: Sequence[Seen]) -> Seen:
    """Return the best candidate: see `holdfast.forgetting.watch.best`."""
    return seen[watch.best([one.look for one in seen])]


def qualifies(seen: Seen) -> bool:
    """Say whether a candidate keeps every contract and has learned something."""
    return seen.look.kept and seen.look.gain > 0
