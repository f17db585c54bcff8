"""A decision is begun by its key and nothing else: whatever the book does not hold, or held once, begins nothing."""

import asyncio
from pathlib import Path

import pytest

from flows import act as acting
from flows import alarm
from holdfast import clock, spec
from holdfast.decisions import book
from holdfast.decisions.records import Decision, Facts
from holdfast.decisions.rule import Past, decide
from holdfast.drift.settings import Monitor
from holdfast.errors import BadInput, Conflict
from holdfast.home import Home


def decided(home: Home, **facts: object) -> Decision:
    given = {"name": "toy", "version": "1", "at": clock.text(), "labelled": 999, **facts}
    return book.at(home).record(decide(Facts.model_validate(given), Monitor(), Past()))


@pytest.mark.parametrize("key", ["", "; rm -rf /", "0" * 63, "A" * 64, "{{ event }}", "0" * 64 + "\n"])
def test_what_is_no_key_is_refused(home: Home, toy: Path, key: str) -> None:
    with pytest.raises(BadInput, match="is not the key of a decision; expected 64 hexadecimal digits"):
        acting.begin(key, toy, [], home)


def test_only_a_decision_to_retrain_this_model_begins_and_only_once(home: Home, toy: Path) -> None:
    calm, other = decided(home, window="w"), decided(home, name="other", manual="because")
    for key in (calm.key, other.key, "0" * 64):
        with pytest.raises(BadInput, match="there is no decision"):
            acting.begin(key, toy, [], home)
    wanted = decided(home, manual="because")
    begun = acting.begin(wanted.key, toy, [], home)
    with pytest.raises(Conflict, match="is being adapted by"):
        acting.begin(wanted.key, toy, [], home)
    book.at(home).end(begun, {}, clock.text())
    with pytest.raises(BadInput, match="was used up"):
        acting.begin(wanted.key, toy, [], home)
    assert [event.event for event in book.at(home).past("toy").adaptations] == ["begin", "end"]


def test_what_fails_is_written_down(home: Home, toy: Path) -> None:
    wanted = decided(home, manual="because")
    with pytest.raises(BadInput, match="`toy` has no champion"):
        asyncio.run(acting.act(wanted.key, toy, [], home))
    begin, fail = book.at(home).past("toy").adaptations
    assert (begin.event, fail.event) == ("begin", "fail") and "has no champion" in fail.result["reason"]


def test_without_a_server_nobody_is_told(home: Home, toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    wanted = decided(home, manual="because")
    assert book.at(home).waiting(wanted, clock.text()) == wanted
    assert asyncio.run(alarm.send(spec.load(toy), wanted, home)) is None
