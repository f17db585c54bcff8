"""The ledger's tables, and how a database is made ready for them: append-only, whichever of the two databases it is.

`promotions` is the truth about champions: its unique (name, generation) is what makes promotion a compare-and-set.
`rulings` are the decisions about drift, one per name and key; `adaptations` begin and end under a unique token.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import (
    DDL,
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import NullPool

from holdfast.errors import BadInput, HoldfastError

BUSY_SECONDS = 60
_LOCK = 0x686F6C64  # "hold": the advisory lock under which one process makes the tables of a PostgreSQL database

metadata = MetaData()

promotions = Table(
    "promotions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("expected_generation", Integer, nullable=False),
    UniqueConstraint("name", "generation"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("evaluation", Text, nullable=False),
    Column("settings", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Text, nullable=False),
    UniqueConstraint("name", "version", "evaluation", "settings", "verdict", "reason"),
)

scorings = Table(
    "scorings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("test_digest", Text, nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("evaluation", Text, nullable=False),
    Column("at", Text, nullable=False),
    UniqueConstraint("test_digest", "name", "task", "digest", "evaluation"),
)

rulings = Table(
    "rulings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, index=True),
    Column("key", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("at", Text, nullable=False),
    UniqueConstraint("name", "key"),
)

adaptations = Table(
    "adaptations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, index=True),
    Column("token", Integer, nullable=False),
    Column("event", Text, nullable=False),
    Column("decision", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Column("until", Text, nullable=False),
    Column("result", Text, nullable=False),
    Column("at", Text, nullable=False),
    UniqueConstraint("name", "token", "event"),
)

_SQLITE_GUARD = """CREATE TRIGGER {table}_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"""
_POSTGRES_FUNCTION = """CREATE OR REPLACE FUNCTION holdfast_append_only() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$"""
_POSTGRES_GUARD = """CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}
FOR EACH ROW EXECUTE FUNCTION holdfast_append_only()"""

event.listen(metadata, "before_create", DDL(_POSTGRES_FUNCTION).execute_if(dialect="postgresql"))
for _table in metadata.sorted_tables:
    for _verb in ("UPDATE", "DELETE"):
        _guard = DDL(_SQLITE_GUARD.format(table=_table.name, verb=_verb))
        event.listen(_table, "after_create", _guard.execute_if(dialect="sqlite"))
    _guard = DDL(_POSTGRES_GUARD.format(table=_table.name))
    event.listen(_table, "after_create", _guard.execute_if(dialect="postgresql"))


class Database:
    """The database at one SQLAlchemy address; what reads and writes some of its tables is made of this."""

    def __init__(self, url: str) -> None:
        """Open it; its tables are made where they are missing. Raises `HoldfastError` when it is not there."""
        try:
            self._engine = engine(url)
        except OperationalError as error:
            raise HoldfastError(f"the ledger cannot be reached: {str(error.orig).strip()}") from error

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except OperationalError as error:
            raise HoldfastError(f"the ledger did not answer: {str(error.orig).strip()}") from error


def engine(url: str) -> Engine:
    """Return an engine on `url` (SQLite or PostgreSQL) with the ledger's tables in place.

    Any number of processes may call it at once. Raises `BadInput` for an address that is none, `HoldfastError` where
    PostgreSQL's driver is not installed.
    """
    made = _connectable(url)
    with made.begin() as connection:
        if made.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        metadata.create_all(connection)
    return made


def _connectable(url: str) -> Engine:
    try:
        kind = make_url(url).get_backend_name()
        if kind not in ("sqlite", "postgresql"):
            raise BadInput(f"the ledger cannot be kept in {kind}", key="HOLDFAST_LEDGER", expected=_EXPECTED)
        options = {"timeout": BUSY_SECONDS} if kind == "sqlite" else {}
        made = create_engine(url, connect_args=options, poolclass=NullPool)
    except (ArgumentError, NoSuchModuleError) as error:
        raise BadInput("is not a database's address", key="HOLDFAST_LEDGER", expected=_EXPECTED) from error
    except ModuleNotFoundError as error:
        raise HoldfastError(f"the ledger's address needs the package {error.name}: install psycopg2-binary") from error
    if kind == "sqlite":
        event.listen(made, "connect", _set_up_sqlite)
        event.listen(made, "begin", _begin_sqlite)
    return made


_EXPECTED = "sqlite:////absolute/path.db or postgresql://user:password@host/database"


def _set_up_sqlite(connection: object, _: object) -> None:
    """Leave transactions to us (the driver begins them late), and let readers go on while someone writes."""
    connection.isolation_level = None  # type: ignore[attr-defined]
    cursor = connection.cursor()  # type: ignore[attr-defined]
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock before anything is read, so that what a decision rests on is still true when it is made."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
