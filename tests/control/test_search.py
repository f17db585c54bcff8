"""The order in which candidates are tried, and which one is taken."""

import pytest

from holdfast.control import search
from holdfast.control.search import Seen
from holdfast.control.weights import Candidate
from holdfast.forgetting.watch import Look
from holdfast.forgetting.watch import Seen as Task

SHARES = (0.25, 0.5, 0.75)


def look(gain: float, drop: float) -> Look:
    return Look(Task("target", 100, 0.3, 0.3 + gain, 1.2, 1.0), (Task("old", 100, 0.9, 0.9 - drop, 0.3, 0.4, 0.05),))


class Line:
    """A line on which gain and drop grow with the share, and what is paid for."""

    def __init__(self, breaks_at: float, pays: int) -> None:
        self.breaks_at, self.pays, self.tried = breaks_at, pays, []

    def see(self, candidate: Candidate) -> Look | None:
        if len(self.tried) == self.pays:
            return None
        self.tried.append(candidate)
        return look(0.4 * candidate.share, 0.05 if candidate.share >= self.breaks_at else 0.0)

    @property
    def shares(self) -> list[float]:
        return [candidate.share for candidate in self.tried]


POINT = Seen(Candidate(1, 10), look(0.4, 0.2))


@pytest.mark.parametrize(
    ("breaks_at", "expected"),
    [(0.4, [0.5, 0.25]), (0.6, [0.5, 0.75]), (0.9, [0.5, 0.75]), (0.1, [0.5, 0.25, 0.125, 0.0625])],
)
def test_a_line_is_halved_over_the_shares_and_towards_the_start_until_one_keeps(
    breaks_at: float, expected: list[float]
) -> None:
    line = Line(breaks_at, 100)
    search.run([POINT], line.see, SHARES)
    assert line.shares == expected


def test_the_point_that_learned_most_comes_first_and_the_next_only_where_nothing_on_its_line_keeps() -> None:
    other = Seen(Candidate(1, 5), look(0.3, 0.2))
    line = Line(0.4, 100)
    search.run([other, POINT], line.see, SHARES)
    assert {c.step for c in line.tried} == {10}
    line = Line(0.0, 100)
    search.run([other, POINT], line.see, SHARES)
    assert [c.step for c in line.tried] == [10] * 5 + [5] * 5


def test_it_ends_when_nothing_can_be_paid_any_more() -> None:
    line = Line(0.0, 3)
    search.run([Seen(Candidate(1, 5), look(0.3, 0.2)), POINT], line.see, SHARES)
    assert len(line.tried) == 3


def test_the_start_is_never_tried_even_where_nothing_keeps() -> None:
    line = Line(0.0, 100)
    search.run([POINT], line.see, ())
    assert min(line.shares) > 0


def test_a_point_that_keeps_every_contract_needs_no_line() -> None:
    line = Line(0.4, 100)
    search.run([Seen(Candidate(1, 5), look(0.1, 0.2)), Seen(Candidate(1, 10), look(0.4, 0.0))], line.see, SHARES)
    assert line.tried == []


def test_what_learned_nothing_does_not_qualify() -> None:
    assert search.qualifies(Seen(Candidate(1, 5), look(0.1, 0.0)))
    assert not search.qualifies(Seen(Candidate(1, 5), look(0.0, 0.0)))
    assert not search.qualifies(Seen(Candidate(1, 5), look(0.1, 0.04)))
