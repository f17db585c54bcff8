"""The book: a window is decided once, an adaptation runs alone, nothing is changed; on both databases."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy
from sqlalchemy.exc import DBAPIError

from holdfast.decisions.book import Book, holder
from holdfast.decisions.records import Facts
from holdfast.decisions.rule import Past, decide
from holdfast.drift.settings import Monitor
from holdfast.errors import BadInput, Conflict
from tests.registry.test_ledger import postgres  # noqa: F401 - a fixture

NOW, LATER = "2026-01-01T00:00:00+00:00", "2026-01-02T01:00:00+00:00"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.service)])
def url(request, tmp_path):
    return f"sqlite:///{tmp_path / 'ledger.db'}" if request.param == "sqlite" else request.getfixturevalue("postgres")


def wanted(why="because", at=NOW):
    return decide(Facts(name="toy", version="1", at=at, manual=why, labelled=999), Monitor(), Past())


def test_a_window_is_decided_once_however_often_it_is_reported(url):
    book = Book(url)
    first = decide(Facts(name="toy", version="1", at=NOW, window="w", alarmed=True), Monitor(), Past())
    again = decide(Facts(name="toy", version="2", at=LATER, window="w"), Monitor(), Past())
    assert book.record(first) == first and book.record(again) == first
    assert book.past("toy").decisions == [first] and book.past("other").decisions == []


def test_a_decision_is_used_up_once(url):
    book = Book(url)
    decision = book.record(wanted())
    assert book.pending("toy", "1", None) == decision and book.pending("toy", "2", None) is None
    begun = book.begin(decision, 24, NOW)
    assert begun.token == 1 and book.pending("toy", "1", None) == decision
    book.end(begun, {"verdict": "refused"}, NOW)
    assert book.pending("toy", "1", None) is None
    assert [event.event for event in book.past("toy").adaptations] == ["begin", "end"]
    with pytest.raises(BadInput, match="was used up"):
        book.begin(decision, 24, NOW)


def test_an_adaptation_that_fails_gives_its_lease_back_and_is_tried_three_times(url):
    book = Book(url)
    decision = book.record(wanted())
    for token in (1, 2, 3):
        assert book.pending("toy", "1", None) == decision
        begun = book.begin(book.find("toy", decision.key), 24, NOW)
        assert (begun.token, book.under_way("toy", NOW)) == (token, begun)
        book.fail(begun, "no labelled rows are left", NOW)
        assert book.under_way("toy", NOW) is None
    assert book.pending("toy", "1", None) is None
    with pytest.raises(BadInput, match="was used up"):
        book.begin(decision, 24, NOW)
    with pytest.raises(Conflict):
        book.end(begun, {}, NOW)


def test_a_decision_of_an_episode_that_is_over_is_not_acted_upon(url):
    book = Book(url)
    facts = [Facts(name="toy", version="1", at=NOW, window=w, alarmed=True, labelled=999) for w in ("v", "w")]
    first = book.record(decide(facts[0], Monitor(), Past()))
    second = book.record(decide(facts[1], Monitor(), Past((first,))))
    assert second.outcome == "retrain" and second.episode == "1:v"
    assert book.pending("toy", "1", "1:v") == second and book.pending("toy", "1", None) is None


def test_a_decision_waits_until_someone_does_it_and_again_when_they_were_killed(url, monkeypatch):
    book = Book(url)
    decision = book.record(wanted())
    assert book.waiting(decision, NOW) == decision
    dead = f"{holder().rpartition(' ')[0]} 999999999"
    monkeypatch.setattr("holdfast.decisions.book.holder", lambda: dead)
    book.begin(decision, 24, NOW)
    monkeypatch.undo()
    promoted = decide(Facts(name="toy", version="2", at=LATER, window="w"), Monitor(), Past())
    assert book.waiting(promoted, NOW) == decision  # cut short, perhaps after it made the champion
    begun = book.begin(decision, 24, NOW)
    assert book.waiting(decision, NOW) is None
    book.end(begun, {}, NOW)
    assert book.waiting(decision, NOW) is None


def test_what_was_never_decided_is_refused(url):
    with pytest.raises(BadInput, match="there is no decision"):
        Book(url).begin(wanted(), 24, NOW)
    book = Book(url)
    calm = book.record(decide(Facts(name="toy", version="1", at=NOW, window="w"), Monitor(), Past()))
    with pytest.raises(BadInput, match="there is no decision"):
        book.begin(calm, 24, NOW)
    for name, key in (("toy", calm.key), ("toy", "0" * 64), ("other", calm.key)):
        with pytest.raises(BadInput, match="there is no decision"):
            book.find(name, key)


def test_of_eight_that_begin_at_once_one_does(url):
    decision = Book(url).record(wanted())

    def begin(number):
        try:
            return Book(url).begin(decision, 24, NOW)
        except Conflict as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(begin, range(8)))
    assert sum(not isinstance(one, str) for one in found) == 1
    assert all("is being adapted by" in one for one in found if isinstance(one, str))


def test_a_lease_that_ran_out_is_taken_over_and_the_late_one_is_fenced_off(url):
    book = Book(url)
    decision = book.record(wanted())
    late = book.begin(decision, 24, NOW)
    with pytest.raises(Conflict):
        book.begin(decision, 24, NOW)
    taken = book.begin(decision, 24, LATER)
    assert taken.token == 2
    with pytest.raises(Conflict, match="token 2"):
        book.end(late, {}, LATER)
    book.end(taken, {"version": "2"}, LATER)


def test_a_dead_process_holds_nothing(url, monkeypatch):
    book = Book(url)
    decision = book.record(wanted())
    dead = f"{holder().rpartition(' ')[0]} 999999999"
    monkeypatch.setattr("holdfast.decisions.book.holder", lambda: dead)
    assert book.begin(decision, 24, NOW).holder == dead and book.under_way("toy", NOW) is None
    monkeypatch.undo()
    assert book.begin(decision, 24, NOW).token == 2


@pytest.mark.parametrize("statement", ["UPDATE rulings SET outcome = 'retrain'", "DELETE FROM rulings"])
def test_nothing_is_changed_or_removed(url, statement):
    Book(url).record(wanted())
    with pytest.raises(DBAPIError, match="append-only"), sqlalchemy.create_engine(url).begin() as connection:
        connection.exec_driver_sql(statement)
