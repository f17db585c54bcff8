"""A new home's database of Prefect is what Prefect's own migrations make of an empty one."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from flows import prefect_database
from holdfast import home as homes


def contents(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as opened:
        return [line.rstrip() for part in opened.iterdump() for line in part.splitlines()]


def shape(script: str) -> dict[str, object]:
    """Return what a script makes: columns in their order, and the rest of each definition in none, as migrations go."""
    with closing(sqlite3.connect(":memory:")) as made:
        made.executescript(script)
        named = made.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        found: dict[str, object] = {
            name: sorted(x.strip().rstrip(",") for x in sql.splitlines()) for name, sql in named
        }
        columns = {f"{name}, columns": made.execute(f'PRAGMA table_info("{name}")').fetchall() for name, _ in named}
        return found | columns | {"revision": made.execute("SELECT * FROM alembic_version").fetchall()}


@pytest.mark.slow
def test_the_script_makes_what_the_installed_version_migrates_to() -> None:
    shipped, migrated = prefect_database.SCHEMA.read_text(encoding="utf-8"), prefect_database.migrated()
    assert shipped.splitlines()[0] == migrated.splitlines()[0]
    assert shape(shipped) == shape(migrated), "`python -m flows.prefect_database` writes it anew"
    assert {"flow_run", "automation", "events", "work_pool"} < set(shape(shipped))


def test_a_new_home_begins_with_it_and_what_is_there_stays(tmp_path: Path) -> None:
    home = homes.make(tmp_path / "home")
    prefect_database.begin(home)
    made = home.path / "prefect" / "prefect.db"
    assert contents(made) == prefect_database.SCHEMA.read_text(encoding="utf-8").splitlines()[1:]
    with closing(sqlite3.connect(made)) as database:
        database.execute("CREATE TABLE own (a)")
    before = contents(made)
    prefect_database.begin(home)
    assert contents(made) == before and not list((home.path / "artifacts" / "scratch").iterdir())


def test_another_version_and_another_database_are_left_to_prefect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = homes.make(tmp_path / "home")
    with monkeypatch.context() as changed:
        changed.setattr(prefect_database, "version", lambda name: "3.8.9")
        prefect_database.begin(home)
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", "sqlite+aiosqlite:////elsewhere.db")
    prefect_database.begin(home)
    assert not (home.path / "prefect").exists()
