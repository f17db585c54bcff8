"""The book of decisions and adaptations: append-only tables beside the ledger's, in the same database.

A decision about a window is written once, however often the window is reported: the first is the decision. Adaptations
begin and end there too: the insert of a new fencing token is what keeps them to one at a time.
"""

from __future__ import annotations

import json
import os
import socket
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Table, select
from sqlalchemy.exc import IntegrityError

from holdfast import digests
from holdfast.decisions.records import Adaptation, Decision, Event, Outcome
from holdfast.decisions.rule import Past, under_way
from holdfast.errors import BadInput, Conflict
from holdfast.home import Home
from holdfast.registry import ledger, schema

ATTEMPTS = 3  # how often an adaptation may fail before its decision is left alone


class Book(schema.Database):
    """The book at one SQLAlchemy address, that of the ledger."""

    def past(self, name: str) -> Past:
        """Return all decisions about a name and all events of its adaptations, oldest first."""
        with self._begin() as connection:
            return Past(_decisions(connection, name), _adaptations(connection, name))

    def record(self, decision: Decision) -> Decision:
        """Write a decision; where there is one with its key, that one stands and is returned."""
        with self._begin() as connection:
            values = {
                "name": decision.name,
                "key": decision.key,
                "outcome": decision.outcome,
                "record": digests.canonical_json(decision.model_dump(mode="json")),
                "at": decision.at,
            }
            try:
                with connection.begin_nested():
                    connection.execute(schema.rulings.insert().values(values))
            except IntegrityError:
                return next(known for known in _decisions(connection, decision.name) if known.key == decision.key)
        return decision

    def find(self, name: str, key: str) -> Decision:
        """Return a decision to retrain or to roll back; raises `BadInput` where there is none of that name and key."""
        with self._begin() as connection:
            return _wanted(connection, name, key, ("retrain", "rollback"))

    def pending(self, name: str, version: str, episode: str | None) -> Decision | None:
        """Return the newest decision to retrain a version that no finished adaptation has used up.

        One that was made in an episode of drift counts only while `episode`, the present one, is still that. One whose
        adaptations failed `ATTEMPTS` times is left alone.
        """
        past = self.past(name)
        used = _used_up(past.adaptations)
        wanted = [d for d in past.decisions if d.outcome == "retrain" and d.version == version and d.key not in used]
        return next((d for d in reversed(wanted) if d.episode in (None, episode)), None)

    def waiting(self, last: Decision, at: str) -> Decision | None:
        """Return the decision to retrain that waits for someone to do it, `last` being the newest decision of its name.

        One whose adaptation was cut short comes first. While an adaptation is under way none waits.
        """
        if self.under_way(last.name, at) is not None:
            return None
        past = self.past(last.name)
        newest = past.adaptations[-1] if past.adaptations else None
        if newest is not None and newest.event == "begin" and newest.decision not in _used_up(past.adaptations):
            return self.find(last.name, newest.decision)
        return self.pending(last.name, last.version, last.episode)

    def begin(self, decision: Decision, hours: float, at: str) -> Adaptation:
        """Begin the adaptation that a decision asks for, under the next fencing token.

        Raises `BadInput` where there is no such decision to retrain, or it was used up; `Conflict` where an adaptation
        of the name is under way. One whose process on this machine is dead, or whose lease has run out, is not.
        """
        with self._begin() as connection:
            _wanted(connection, decision.name, decision.key)
            events = _adaptations(connection, decision.name)
            if decision.key in _used_up(events):
                raise BadInput(f"the decision {decision.key[:12]} to retrain `{decision.name}` was used up")
            running = under_way(events, at)
            if running is not None and not _dead(running.holder):
                raise _busy(running)
            token = max((event.token for event in events), default=0) + 1
            until = (datetime.fromisoformat(at) + timedelta(hours=hours)).isoformat()
            begun = {"name": decision.name, "token": token, "event": "begin", "decision": decision.key}
            return _append(connection, {**begun, "holder": holder(), "until": until, "result": {}, "at": at})

    def under_way(self, name: str, at: str) -> Adaptation | None:
        """Return the adaptation of a name that is under way; one whose process on this machine is dead is not."""
        running = under_way(self.past(name).adaptations, at)
        return None if running is None or _dead(running.holder) else running

    def end(self, begun: Adaptation, result: dict[str, Any], at: str) -> Adaptation:
        """Write that an adaptation ended, with what came of it; raises `Conflict` where another took over since."""
        return self._close(begun, "end", result, at)

    def fail(self, begun: Adaptation, reason: str, at: str) -> Adaptation:
        """Write that an adaptation failed: its lease is given back, and it may be begun again `ATTEMPTS` times in all.

        Raises `Conflict` where another took over since.
        """
        return self._close(begun, "fail", {"reason": reason}, at)

    def _close(self, begun: Adaptation, event: Event, result: dict[str, Any], at: str) -> Adaptation:
        with self._begin() as connection:
            last = _adaptations(connection, begun.name)[-1]
            if last.token != begun.token or last.event != "begin":
                raise _busy(last)
            return _append(connection, {**begun.model_dump(), "event": event, "result": result, "at": at})


def at(home: Home) -> Book:
    """Return the book of a home, in the database of its ledger."""
    return Book(home.ledger_url)


def holder() -> str:
    """Return this process as `user@machine, process 123`."""
    return f"{ledger.whoever()}, process {os.getpid()}"


def _wanted(connection: Connection, name: str, key: str, outcomes: Sequence[Outcome] = ("retrain",)) -> Decision:
    stored = next((d for d in _decisions(connection, name) if d.key == key), None)
    if stored is None or stored.outcome not in outcomes:
        raise BadInput(f"there is no decision {key[:12]} to {' or '.join(outcomes)} `{name}`")
    return stored


def _used_up(events: Sequence[Adaptation]) -> set[str]:
    """Return the keys of the decisions that were acted upon, or tried in vain often enough."""
    failed = Counter(event.decision for event in events if event.event == "fail")
    ended = {event.decision for event in events if event.event == "end"}
    return ended | {key for key, times in failed.items() if times >= ATTEMPTS}


def _dead(holder: str) -> bool:
    """Say whether a holder was a process of this machine that is no more."""
    place, _, process = holder.rpartition(", process ")
    if place.rpartition("@")[2] != socket.gethostname() or not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _busy(running: Adaptation) -> Conflict:
    return Conflict(f"`{running.name}` is being adapted by {running.holder} since {running.at} (token {running.token})")


def _append(connection: Connection, values: dict[str, Any]) -> Adaptation:
    event = Adaptation.model_validate(values)
    try:
        with connection.begin_nested():
            result = digests.canonical_json(event.result)
            connection.execute(schema.adaptations.insert().values({**event.model_dump(), "result": result}))
    except IntegrityError as error:
        raise _busy(_adaptations(connection, event.name)[-1]) from error
    return event


def _decisions(connection: Connection, name: str) -> list[Decision]:
    return [Decision(**json.loads(row["record"])) for row in _rows(connection, schema.rulings, name)]


def _adaptations(connection: Connection, name: str) -> list[Adaptation]:
    found = _rows(connection, schema.adaptations, name)
    return [Adaptation(**{**row, "result": json.loads(row["result"])}) for row in found]


def _rows(connection: Connection, table: Table, name: str) -> list[dict[str, Any]]:
    columns = [column for column in table.columns if column.name != "id"]
    wanted = select(*columns).where(table.columns["name"] == name).order_by(table.columns["id"])
    return [dict(row._mapping) for row in connection.execute(wanted)]
