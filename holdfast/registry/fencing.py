"""Fencing: a run whose place another one took writes nothing any more, however late it wakes up.

An adaptation that a decision asks for runs under the token with which it was begun in the book (`decisions.book`); the
newest token of a name is the one that counts. The run asks right before each checkpoint, version and alias; a promotion
asks inside the transaction of its compare-and-set, so that nothing can come between. A run without a token, such as
`holdfast run`, is held back by nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from holdfast.errors import Fenced
from holdfast.registry import schema

if TYPE_CHECKING:
    from holdfast.home import Fence, Home


@dataclass(frozen=True)
class Token:
    """The token under which a run works on a registered name, and the address of the database that has all tokens."""

    name: str
    token: int
    url: str

    def check(self) -> None:
        """Raise `Fenced` unless the token still counts."""
        _Tokens(self.url).check(self)


class _Tokens(schema.Database):
    """The tokens of all adaptations."""

    def check(self, fence: Fence) -> None:
        with self._begin() as connection:
            check(connection, fence)


def under(home: Home, name: str, token: int | None) -> Home:
    """Return the home for a run that works on `name` under a token, or, without one, the home as it is."""
    return home if token is None else replace(home, fence=Token(name, token, home.ledger_url))


def check(connection: Connection, fence: Fence) -> None:
    """Raise `Fenced` unless the fence's token is the newest of its name and has not ended, until the transaction ends.

    SQLite's transactions run one at a time; PostgreSQL is told to let nobody begin an adaptation meanwhile.
    """
    table = schema.adaptations
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"LOCK TABLE {table.name} IN SHARE MODE")
    newest = select(table).where(table.c.name == fence.name).order_by(table.c.token.desc(), table.c.id.desc()).limit(1)
    row = connection.execute(newest).mappings().first()
    if row is None or (row["token"], row["event"]) != (fence.token, "begin"):
        raise Fenced(_told(fence, row))


def _told(fence: Fence, row: Any) -> str:
    begun = f"this adaptation of `{fence.name}` was begun under token {fence.token}"
    if row is None:
        return f"{begun}, which the book does not know; nothing more was written"
    if row["token"] == fence.token:
        return f"{begun}, which has ended at {row['at']}; nothing more was written"
    taken = f"{row['holder']} took over under token {row['token']} at {row['at']}"
    return f"{begun}, and {taken}: its lease had run out or its process had died; nothing more was written"
