"""Fencing: a run whose place another one took writes nothing any more, however late it wakes up.

An adaptation that a decision asks for runs under the token with which it was begun in the book (`decisions.book`); the
newest token of a name is the one that counts. The run asks right before each checkpoint, version and alias; a promotion
asks inside the transaction of its compare-and-set, so that nothing can come between. A run without a token, such as
`holdfast run`, is held back by nothing here. A tuning that was handed to a worker elsewhere, which reaches no ledger,
counts as long as the MLflow run by which it was handed over is still running: whoever asked for it ends that run when
the worker is given up, and who takes over an adaptation ends those of the one before (`handover.hand`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from holdfast.errors import Fenced, HoldfastError
from holdfast.registry import schema

if TYPE_CHECKING:
    from holdfast.home import Fence, Home


@dataclass(frozen=True)
class Token:
    """The token under which a run works on a registered name, and the address of the database that has all tokens."""

    name: str
    token: int
    url: str

    def check(self, within: Connection | None = None) -> None:
        """Raise `Fenced` unless the token still counts, and `within` a transaction keeps counting until that ends."""
        if within is None:
            _Tokens(self.url).check(self)
        else:
            check(within, self)

    def document(self) -> dict[str, Any]:
        """Return what `read` makes the same fence of."""
        return asdict(self)


@dataclass(frozen=True)
class Lent:
    """The MLflow run by which a tuning was handed over, and MLflow's address."""

    run_id: str
    tracking_uri: str

    def check(self, within: Connection | None = None) -> None:
        """Raise `Fenced` unless the run is still running; nothing here promotes, so `within` is not used."""
        from mlflow import MlflowClient

        try:
            status = MlflowClient(self.tracking_uri).get_run(self.run_id).info.status
        except Exception as error:
            why = str(error).splitlines()[0][:300]
            raise HoldfastError(f"MLflow does not tell whether this tuning is still wanted: {why}") from error
        if status != "RUNNING":
            raise Fenced(
                f"this tuning was handed over by the MLflow run {self.run_id}, which is {status.lower()}: nobody waits "
                "for it any more; nothing more was written"
            )

    def document(self) -> dict[str, Any]:
        """Return what `read` makes the same fence of."""
        return asdict(self)


def read(document: Mapping[str, Any]) -> Fence:
    """Return the fence that told its `document`."""
    return Lent(**document) if "run_id" in document else Token(**document)


class _Tokens(schema.Database):
    """The tokens of all adaptations."""

    def check(self, fence: Token) -> None:
        with self._begin() as connection:
            check(connection, fence)


def under(home: Home, name: str, token: int | None) -> Home:
    """Return the home for a run that works on `name` under a token, or, without one, the home as it is."""
    return home if token is None else replace(home, fence=Token(name, token, home.ledger_url))


def check(connection: Connection, fence: Token) -> None:
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


def _told(fence: Token, row: Any) -> str:
    begun = f"this adaptation of `{fence.name}` was begun under token {fence.token}"
    if row is None:
        return f"{begun}, which the book does not know; nothing more was written"
    if row["token"] == fence.token:
        return f"{begun}, which has ended at {row['at']}; nothing more was written"
    taken = f"{row['holder']} took over under token {row['token']} at {row['at']}"
    return f"{begun}, and {taken}: its lease had run out or its process had died; nothing more was written"
