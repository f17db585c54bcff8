"""The ledger: an append-only SQL table of who promoted what, and why; it alone says which version is champion.

Promotion is compare-and-set: a promoter states the generation it expects, and the insert of the next one under a
unique (name, generation) is the decision. Beside it stand the gate's decisions, refusals included, and a count of how
often each test set was scored.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Literal

from sqlalchemy import Connection, Table, select
from sqlalchemy.exc import IntegrityError

from holdfast import clock, digests
from holdfast.errors import BadInput, Conflict
from holdfast.home import Fence, Home
from holdfast.records import Record
from holdfast.registry import schema


class Promotion(Record):
    """One line of the ledger: from `generation` on, `version` (whose adapter is `digest`) is champion of `name`."""

    name: str
    generation: int
    version: str
    digest: str
    run_id: str
    action: Literal["promote", "rollback"]
    why: str
    who: str
    at: str
    expected_generation: int


class Decision(Record):
    """What the gate said about a version, under which settings."""

    name: str
    version: str
    digest: str
    evaluation: str
    settings: str
    verdict: Literal["promoted", "refused"]
    reason: str
    at: str


class Scoring(Record):
    """One scoring of a test set (`test_digest`) by the adapter `digest` of `name`, in the role `task`."""

    test_digest: str
    name: str
    task: str
    digest: str
    evaluation: str
    at: str


class Ledger(schema.Database):
    """The ledger at one SQLAlchemy address (SQLite or PostgreSQL)."""

    def history(self, name: str) -> list[Promotion]:
        """Return every promotion and rollback of `name`, oldest first."""
        with self._begin() as connection:
            return _history(connection, name)

    def champion(self, name: str) -> Promotion | None:
        """Return the entry that made the present champion of `name`, or None when it never had one."""
        entries = self.history(name)
        return entries[-1] if entries else None

    def standing(self, name: str) -> list[Promotion]:
        """Return the champion (last) with those that rollbacks would bring back, the nearest before it; see `stand`."""
        return stand(self.history(name))

    def promote(
        self,
        name: str,
        version: str,
        digest: str,
        expected_generation: int,
        why: str,
        who: str,
        run_id: str = "",
        fence: Fence | None = None,
    ) -> Promotion:
        """Make a version champion if the generation is still the expected one (0: none yet); return the new entry.

        Raises `Conflict`, with the generation expected and the one met, when someone else was first; `Fenced` when the
        token of `fence` does not count any more, which is found out in the transaction of the insert.
        """
        with self._begin() as connection:
            if fence is not None:
                fence.check(connection)
            wanted = {"version": version, "digest": digest, "run_id": run_id, "action": "promote"}
            return self._append(connection, name, expected_generation, {**wanted, "why": why, "who": who})

    def rollback(self, name: str, why: str, who: str | None = None, expected: int | None = None) -> Promotion:
        """Give `name` its previous champion back, as one more generation; return the new entry.

        Rolling back again goes one champion further back. Raises `BadInput` when there is none before, `Conflict` when
        the generation is not the `expected` one (None: whichever it is).
        """
        with self._begin() as connection:
            entries = _history(connection, name)
            standing = stand(entries)
            if len(standing) < 2:
                held = (
                    "has no champion" if not standing else f"has had no champion before version {entries[-1].version}"
                )
                raise BadInput(f"`{name}` {held}, so there is nothing to roll back to")
            back = {key: getattr(standing[-2], key) for key in ("version", "digest", "run_id")}
            values = {**back, "action": "rollback", "why": why, "who": who or whoever()}
            met = entries[-1].generation
            return self._append(connection, name, met if expected is None else expected, values)

    def _append(self, connection: Connection, name: str, expected: int, values: Mapping[str, str]) -> Promotion:
        """Insert the next generation; this is the decision."""
        met = _history(connection, name)
        if (met[-1].generation if met else 0) != expected:
            raise _conflict(name, values["version"], expected, met[-1] if met else None)
        numbers = {"generation": expected + 1, "expected_generation": expected}
        entry = Promotion.model_validate({"name": name, **numbers, **values, "at": _now()})
        try:
            with connection.begin_nested():
                connection.execute(schema.promotions.insert().values(entry.model_dump()))
        except IntegrityError as error:
            winner = _history(connection, name)[-1:]
            raise _conflict(name, values["version"], expected, winner[0] if winner else None) from error
        return entry

    def record_decision(
        self,
        name: str,
        version: str,
        digest: str,
        evaluation: str,
        settings: Mapping[str, Any],
        verdict: str,
        reason: str,
    ) -> None:
        """Record what the gate said; saying the same again of the same version and evaluation adds nothing."""
        text = digests.canonical_json(settings)
        key = {"name": name, "version": version, "evaluation": evaluation, "settings": text}
        self._insert_once(schema.decisions, {**key, "digest": digest, "verdict": verdict, "reason": reason})

    def decisions(self, name: str, version: str | None = None) -> list[Decision]:
        """Return the gate's decisions on `name` (on one version of it), oldest first."""
        columns = {"name": name} if version is None else {"name": name, "version": version}
        return [Decision(**row) for row in self._rows(schema.decisions, columns)]

    def record_scoring(self, test_digest: str, name: str, task: str, digest: str, evaluation: str) -> None:
        """Count a scoring of a test set; the same evaluation of the same adapter counts once."""
        values = {"test_digest": test_digest, "name": name, "task": task, "digest": digest, "evaluation": evaluation}
        self._insert_once(schema.scorings, values)

    def scorings(self, test_digest: str) -> list[Scoring]:
        """Return every scoring of a test set, by whichever model, oldest first."""
        return [Scoring(**row) for row in self._rows(schema.scorings, {"test_digest": test_digest})]

    def _insert_once(self, table: Table, values: Mapping[str, str]) -> None:
        with self._begin() as connection:
            try:
                with connection.begin_nested():
                    connection.execute(table.insert().values({**values, "at": _now()}))
            except IntegrityError:
                return

    def _rows(self, table: Table, columns: Mapping[str, str]) -> list[dict[str, Any]]:
        with self._begin() as connection:
            return _rows(connection, table, columns)


def at(home: Home) -> Ledger:
    """Return the ledger of a home: `HOLDFAST_LEDGER` when set, else SQLite inside it."""
    return Ledger(home.ledger_url)


def whoever() -> str:
    """Return who is asking, as `user@machine`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def stand(entries: Sequence[Promotion]) -> list[Promotion]:
    """Return the champions still on the stack, the present one last, after replaying `entries` (oldest first).

    A promotion is put on top, or takes the top's place when it has the same adapter; a rollback takes the top off, and
    its entry stands for the one below.
    """
    stack: list[Promotion] = []
    for entry in entries:
        if entry.action == "rollback" or (stack and stack[-1].digest == entry.digest):
            stack = stack[: -2 if entry.action == "rollback" else -1]
        stack.append(entry)
    return stack


def rolled_back(entries: Sequence[Promotion], digest: str) -> Promotion | None:
    """Return the rollback that took the adapter `digest` down, if that is how it last ceased to be champion."""
    if not entries or entries[-1].digest == digest:
        return None
    ended = [after for before, after in pairwise(entries) if before.digest == digest != after.digest]
    return ended[-1] if ended and ended[-1].action == "rollback" else None


def _history(connection: Connection, name: str) -> list[Promotion]:
    entries = [Promotion(**row) for row in _rows(connection, schema.promotions, {"name": name})]
    return sorted(entries, key=lambda entry: entry.generation)


def _rows(connection: Connection, table: Table, columns: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the rows where `columns` have the given values, in the order of insertion, without their ids."""
    wanted = select(*(column for column in table.columns if column.name != "id"))
    for column, value in columns.items():
        wanted = wanted.where(table.columns[column] == value)
    return [dict(row._mapping) for row in connection.execute(wanted.order_by(table.columns["id"]))]


def _conflict(name: str, version: str, expected: int, met: Promotion | None) -> Conflict:
    found = f"met {met.generation} (version {met.version}, by {met.who}: {met.why})" if met else "met none"
    return Conflict(f"version {version} of `{name}` was not promoted: expected generation {expected}, {found}")


def moment(milliseconds: int) -> str:
    """Return a time in milliseconds since 1970 as the ledger writes times: ISO 8601, UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")


def _now() -> str:
    return clock.text()
