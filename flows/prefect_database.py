"""A new home's database of Prefect: the tables that its migrations end in, without walking through all of them.

Prefect makes an empty SQLite database by every migration that it ever had: two thirds of its server's first start.
`prefect.sql` is what they come to for the one version that it names; with any other version Prefect does it by itself,
and in any case it looks at the database's revision when it starts. `python -m flows.prefect_database` writes the file
anew.
"""

import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path

from holdfast.home import Home

SCHEMA = Path(__file__).with_name("prefect.sql")
_TOLD = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")


def begin(home: Home, name: str = "prefect.db") -> None:
    """Make `prefect/NAME` in a home unless it is there, or the user named another, or Prefect is of another version."""
    place = home.path / "prefect" / name
    if place.exists() or any(os.environ.get(key) for key in _TOLD):
        return
    script = SCHEMA.read_text(encoding="utf-8")
    if not script.startswith(_title(version("prefect"))):
        return
    place.parent.mkdir(exist_ok=True)
    with home.store.scratch() as folder:
        with closing(sqlite3.connect(folder / name)) as database:
            database.executescript(script)
        with suppress(OSError):  # another process was first, or the disk knows no links: then Prefect does it
            os.link(folder / name, place)


def migrated() -> str:
    """Return the script that makes what the installed Prefect's migrations make, with its version in the first line."""
    with tempfile.TemporaryDirectory() as folder:
        kept = {name: value for name, value in os.environ.items() if name not in _TOLD}
        line = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
        subprocess.run(line, env={**kept, "PREFECT_HOME": folder}, check=True, stdout=subprocess.DEVNULL)
        with closing(sqlite3.connect(Path(folder) / "prefect.db")) as database:
            lines = "\n".join(database.iterdump()).splitlines()
    return _title(version("prefect")) + "".join(f"{line.rstrip()}\n" for line in lines)


def _title(of: str) -> str:
    return f"-- Prefect {of} on SQLite, as its migrations leave it; written by `python -m flows.prefect_database`.\n"


if __name__ == "__main__":
    SCHEMA.write_text(migrated(), encoding="utf-8")
