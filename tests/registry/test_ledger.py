"""The ledger: one winner per generation, whichever database; rollbacks; nothing is ever changed or removed."""

import json
import os
import random
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy.exc import DBAPIError

from holdfast.errors import BadInput, Conflict, HoldfastError
from holdfast.registry.ledger import Ledger, Promotion, rolled_back, stand

DEFAULT_POSTGRES = "postgresql://postgres@127.0.0.1:5432/postgres"
ROOT = Path(__file__).resolve().parents[2]
PROCESSES, ROUNDS = 20, 20
MORTAL = PROCESSES - 1


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def postgres() -> Iterator[str]:
    """The address of a new, empty PostgreSQL database, on the server that HOLDFAST_TEST_POSTGRES names (it must reply),
    else on this machine's usual port; skipped, visibly, where there is none."""
    pytest.importorskip("psycopg2", reason="PostgreSQL: psycopg2 is not installed")
    server = os.environ.get("HOLDFAST_TEST_POSTGRES", DEFAULT_POSTGRES)
    admin = sqlalchemy.create_engine(server, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 3})
    name = f"holdfast_test_{uuid.uuid4().hex[:12]}"
    try:
        with admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
    except sqlalchemy.exc.OperationalError:
        if "HOLDFAST_TEST_POSTGRES" in os.environ:
            raise
        pytest.skip(f"PostgreSQL: none reachable at {sqlalchemy.make_url(server)!r}; set HOLDFAST_TEST_POSTGRES")
    yield sqlalchemy.make_url(server).set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


def _promote(book: Ledger, version: str, expected: int, digest: str | None = None) -> Promotion:
    return book.promote("toy", version, digest or f"digest-{version}", expected, why=f"because {version}", who="me")


def test_promotion_states_the_generation_it_expects(sqlite: str) -> None:
    book = Ledger(sqlite)
    assert book.champion("toy") is None
    assert _promote(book, "1", 0).generation == 1
    with pytest.raises(Conflict, match=r"expected generation 0, met 1 \(version 1, by me: because 1\)"):
        _promote(book, "2", 0)
    with pytest.raises(Conflict, match="expected generation 5, met 1"):
        _promote(book, "2", 5)
    second = _promote(book, "2", 1)
    assert (second.generation, second.expected_generation) == (2, 1)
    assert book.champion("toy") == second
    assert [entry.version for entry in book.history("toy")] == ["1", "2"]
    assert book.champion("another") is None


def test_rollback_goes_further_back_each_time_across_generations(sqlite: str) -> None:
    book = Ledger(sqlite)
    for expected, version in enumerate(("1", "2", "3")):
        _promote(book, version, expected)
    back = book.rollback("toy", "it was slow")
    assert (back.version, back.generation, back.action, back.why) == ("2", 4, "rollback", "it was slow")
    assert (book.rollback("toy", "slow too").version, book.champion("toy").generation) == ("1", 5)
    with pytest.raises(BadInput, match="no champion before version 1"):
        book.rollback("toy", "further")
    _promote(book, "4", 5)
    assert [entry.version for entry in book.standing("toy")] == ["1", "4"]
    assert book.rollback("toy", "again").version == "1"
    assert [entry.version for entry in book.history("toy")] == ["1", "2", "3", "2", "1", "4", "1"]


def test_rollback_without_a_champion_is_bad_input(sqlite: str) -> None:
    with pytest.raises(BadInput, match="`toy` has no champion"):
        Ledger(sqlite).rollback("toy", "why not")


def test_the_same_adapter_under_two_versions_is_one_place_on_the_stack(sqlite: str) -> None:
    book = Ledger(sqlite)
    _promote(book, "1", 0, "a")
    _promote(book, "2", 1, "b")
    _promote(book, "3", 2, "b")
    assert [entry.version for entry in book.standing("toy")] == ["1", "3"]
    assert book.rollback("toy", "b is bad").version == "1"
    entries = book.history("toy")
    assert rolled_back(entries, "b") == entries[-1]
    assert rolled_back(entries, "a") is None and rolled_back(entries, "unheard of") is None
    _promote(book, "2", 4, "b")
    assert rolled_back(book.history("toy"), "b") is None


def test_a_version_that_another_replaced_was_not_rolled_back(sqlite: str) -> None:
    book = Ledger(sqlite)
    _promote(book, "1", 0)
    _promote(book, "2", 1)
    assert rolled_back(book.history("toy"), "digest-1") is None
    assert stand([]) == []


def _check_append_only(url: str) -> None:
    book = Ledger(url)
    _promote(book, "1", 0)
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    for statement in ("UPDATE promotions SET version = '9'", "DELETE FROM promotions"):
        with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
            connection.exec_driver_sql(statement)
    assert book.champion("toy").version == "1"


def test_lines_cannot_be_changed_or_removed(sqlite: str) -> None:
    _check_append_only(sqlite)


def test_decisions_are_recorded_once_refusals_too(sqlite: str) -> None:
    book = Ledger(sqlite)
    for _ in range(2):
        book.record_decision("toy", "1", "d", "e", {"target_gain": 0.0}, "refused", "no gain")
    book.record_decision("toy", "1", "d", "e", {"target_gain": -1.0}, "promoted", "gained")
    assert [(one.verdict, one.reason) for one in book.decisions("toy", "1")] == [
        ("refused", "no gain"),
        ("promoted", "gained"),
    ]
    assert book.decisions("toy", "2") == []


def test_every_scoring_of_a_test_set_is_counted(sqlite: str) -> None:
    book = Ledger(sqlite)
    book.record_scoring("test", "toy", "target", "adapter-a", "evaluation-a")
    book.record_scoring("test", "toy", "target", "adapter-a", "evaluation-a")
    book.record_scoring("test", "toy", "target", "adapter-a", "evaluation-b")
    book.record_scoring("test", "other", "remembered", "adapter-b", "evaluation-c")
    book.record_scoring("another test", "toy", "target", "adapter-a", "evaluation-a")
    assert [(one.name, one.digest) for one in book.scorings("test")] == [
        ("toy", "adapter-a"),
        ("toy", "adapter-a"),
        ("other", "adapter-b"),
    ]


def test_an_address_that_is_none_is_bad_input(tmp_path: Path) -> None:
    for url in ("not an address", "nosuchdb://host/db", "mysql://host/db"):
        with pytest.raises(BadInput, match="HOLDFAST_LEDGER"):
            Ledger(url)
    with pytest.raises(HoldfastError, match="cannot be reached"):
        Ledger(f"sqlite:///{tmp_path}/no/such/folder/ledger.db")


def _race(url: str) -> None:
    """Run the race of `racers.py` and check that the ledger and what each promoter was told are one story."""
    line = [sys.executable, str(Path(__file__).with_name("racers.py")), url, str(PROCESSES), str(ROUNDS)]
    done = subprocess.run(
        line, capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr
    told = [json.loads(answer) for answer in done.stdout.splitlines()]
    early = [(expected, answer) for expected, number, answer in told if number == MORTAL and expected % 4 < 2]
    assert sorted(early) == [(expected, "killed") for expected in range(ROUNDS) if expected % 4 < 2]
    history = Ledger(url).history("toy")
    assert [entry.generation for entry in history] == [*range(1, ROUNDS + 1)]
    assert all(entry.version == str(MORTAL) for entry in history if entry.expected_generation % 4 == 1)
    for entry in history:
        assert (entry.digest, entry.who) == (f"digest-{entry.version}", f"promoter {entry.version}")
        answers = {number: answer for expected, number, answer in told if expected == entry.expected_generation}
        assert len(answers) == PROCESSES
        came = answers.pop(int(entry.version))
        assert came == ("killed" if int(entry.version) == MORTAL else "won")
        met = f"expected generation {entry.expected_generation}, met {entry.generation} (version {entry.version}, by "
        mortal = answers.pop(MORTAL, "lost")
        assert (mortal == "killed") <= (entry.expected_generation % 2 == 0), (
            "killed before the commit, it changed nothing"
        )
        assert all(met in answer for answer in answers.values())
    assert Ledger(url).champion("toy") == history[-1]


def test_of_twenty_promoters_one_wins_each_of_twenty_rounds_and_one_dies_in_each(sqlite: str) -> None:
    _race(sqlite)


@pytest.mark.service
def test_of_twenty_promoters_one_wins_each_round_on_postgresql(postgres: str) -> None:
    _race(postgres)


def test_any_sequence_of_promotions_and_rollbacks_is_a_stack(sqlite: str) -> None:
    """The champion after each step, compared with a plain list that is pushed to and popped from."""
    book, draw, stack = Ledger(sqlite), random.Random(5), []
    for generation in range(40):
        if len(stack) > 1 and draw.random() < 0.45:
            stack.pop()
            assert book.rollback("toy", "why").version == stack[-1]
        else:
            version = draw.choice([v for v in "12345" if not stack or v != stack[-1]])
            stack.append(version)
            _promote(book, version, generation)
        assert book.champion("toy").version == stack[-1]
        assert [entry.version for entry in book.standing("toy")] == stack


def test_a_rollback_passes_over_what_was_itself_rolled_back(sqlite: str) -> None:
    book = Ledger(sqlite)
    _promote(book, "1", 0)
    _promote(book, "2", 1)
    assert book.rollback("toy", "2 is slow").version == "1"
    _promote(book, "3", 3)
    assert book.rollback("toy", "3 is slow").version == "1", "2 was rolled back, so 1 is what stood before 3"
    _promote(book, "2", 5)
    assert book.rollback("toy", "2 is slow after all").version == "1"
    assert rolled_back(book.history("toy"), "digest-2").why == "2 is slow after all"


def test_a_rollback_that_expects_another_generation_is_a_conflict(sqlite: str) -> None:
    book = Ledger(sqlite)
    for expected, version in enumerate(("1", "2", "3")):
        _promote(book, version, expected)
    assert book.rollback("toy", "first", expected=3).generation == 4
    with pytest.raises(Conflict, match=r"expected generation 3, met 4 \(version 2, by .*: first\)"):
        book.rollback("toy", "second", expected=3)
    assert book.champion("toy").version == "2"


@pytest.mark.service
def test_lines_cannot_be_changed_or_removed_on_postgresql(postgres: str) -> None:
    _check_append_only(postgres)
    book = Ledger(postgres)
    _promote(book, "2", 1)
    assert book.rollback("toy", "why").version == "1"
    book.record_scoring("test", "toy", "target", "a", "e")
    book.record_scoring("test", "toy", "target", "a", "e")
    assert len(book.scorings("test")) == 1
