"""Whose token is not the newest any more writes nothing: in the ledger, on both databases, and among checkpoints."""

import pytest

from holdfast.decisions.book import Book
from holdfast.decisions.records import Facts
from holdfast.decisions.rule import Past, decide
from holdfast.drift.settings import Monitor
from holdfast.errors import Fenced, HoldfastError
from holdfast.registry.fencing import Lent, Token, read, under
from holdfast.registry.ledger import Ledger
from holdfast.training import checkpoints
from tests.registry.test_ledger import postgres  # noqa: F401 - a fixture

NOW, LATER = "2026-01-01T00:00:00+00:00", "2026-01-03T00:00:00+00:00"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.service)])
def url(request, tmp_path):
    return f"sqlite:///{tmp_path / 'ledger.db'}" if request.param == "sqlite" else request.getfixturevalue("postgres")


def begin(url, at, why="because"):
    facts = Facts(name="toy", version="1", at=NOW, manual=why, labelled=999)
    book = Book(url)
    return book.begin(book.record(decide(facts, Monitor(), Past())), 24, at)


def test_the_newest_token_counts_until_it_has_ended(url):
    with pytest.raises(Fenced, match="which the book does not know"):
        Token("toy", 1, url).check()
    first = begin(url, NOW)
    fence = Token("toy", first.token, url)
    fence.check()
    second = begin(url, LATER)
    with pytest.raises(Fenced, match=r"begun under token 1, and .* took over under token 2 at 2026-01-03"):
        fence.check()
    Token("toy", second.token, url).check()
    Book(url).end(second, {}, LATER)
    with pytest.raises(Fenced, match="token 2, which has ended"):
        Token("toy", second.token, url).check()


def test_a_promotion_asks_in_its_own_transaction(url):
    ledger, first = Ledger(url), begin(url, NOW)
    mine = Token("toy", first.token, url)
    ledger.promote("toy", "1", "one", 0, "gained", "me", fence=mine)
    begin(url, LATER)
    with pytest.raises(Fenced, match="took over"):
        ledger.promote("toy", "2", "two", 1, "gained", "me", fence=mine)
    assert [entry.version for entry in ledger.history("toy")] == ["1"]
    ledger.promote("toy", "3", "three", 1, "by a person", "me")  # without a token nothing is held back


def test_the_tokens_of_another_name_do_not_matter(url):
    first = begin(url, NOW)
    Ledger(url).promote("other", "1", "one", 0, "gained", "me")
    with pytest.raises(Fenced, match="of `other` was begun under token 1, which the book does not know"):
        Token("other", first.token, url).check()


def test_a_checkpoint_asks_right_before_it_is_in_place(home):
    import torch

    place, weights = home.checkpoints / "key", {"weights": {"w": torch.zeros(2)}}
    fenced = under(home, "toy", begin(home.ledger_url, NOW).token)
    checkpoints.write(place, 1, weights, {}, fenced.check_fence)
    begin(home.ledger_url, LATER)
    with pytest.raises(Fenced, match="took over"):
        checkpoints.write(place, 2, weights, {}, fenced.check_fence)
    assert [path.name for path in place.iterdir()] == ["checkpoint-1"]
    checkpoints.write(place, 2, weights, {}, under(home, "toy", None).check_fence)
    assert checkpoints.newest(place).step == 2


def test_another_process_is_told_the_same_fence():
    for fence in (Token("toy", 3, "sqlite:///x.db"), Lent("abc", "http://127.0.0.1:1")):
        assert read(fence.document()) == fence


def test_a_tuning_whose_hand_over_cannot_be_asked_about_stops(tmp_path):
    with pytest.raises(HoldfastError, match="does not tell whether this tuning is still wanted"):
        Lent("0" * 32, f"sqlite:///{tmp_path}/none.db").check()
