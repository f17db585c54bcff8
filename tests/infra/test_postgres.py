"""On a real PostgreSQL: the databases that the stack makes, with Prefect, MLflow and the ledger in them."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy.engine import URL

from holdfast.home import Home
from holdfast.registry import tracking
from holdfast.registry.ledger import Ledger

pytestmark = pytest.mark.service
ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "infra" / "postgres" / "databases.sh"
DEFAULT_POSTGRES = "postgresql://postgres@127.0.0.1:5432/postgres"
PARTS = ("prefect", "mlflow", "holdfast")


@pytest.fixture(scope="module")
def databases() -> Iterator[dict[str, URL]]:
    """Addresses of the databases that the stack's script made on the server that HOLDFAST_TEST_POSTGRES names (it must
    reply), else on this machine's usual port; under names of their own, and removed in the end."""
    server = sqlalchemy.make_url(os.environ.get("HOLDFAST_TEST_POSTGRES", DEFAULT_POSTGRES))
    admin = sqlalchemy.create_engine(server, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 3})
    try:
        admin.connect().close()
    except sqlalchemy.exc.OperationalError:
        if "HOLDFAST_TEST_POSTGRES" in os.environ:
            raise
        pytest.skip(f"PostgreSQL: none reachable at {server!r}; set HOLDFAST_TEST_POSTGRES")
    mark = uuid.uuid4().hex[:8]
    names = {part: f"{part}_{mark}" for part in PARTS}
    try:
        _make(server, names)
        yield {part: server.set(username=name, password=f"{part}secret", database=name) for part, name in names.items()}
    finally:
        with admin.connect() as connection:
            for name in names.values():
                connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
                connection.exec_driver_sql(f"DROP ROLE IF EXISTS {name}")


def _make(server: URL, names: dict[str, str]) -> None:
    """Run the stack's script against `server`, with `names` for its databases."""
    script = SCRIPT.read_text()
    for part, name in names.items():
        assert f"\ndatabase {part} " in script
        script = script.replace(f"\ndatabase {part} ", f"\ndatabase {name} ")
    where = {"PGHOST": server.host or "", "PGPORT": str(server.port or 5432), "PGPASSWORD": server.password or ""}
    secrets = {f"{part.upper()}_DATABASE_PASSWORD": f"{part}secret" for part in names}
    variables = os.environ | where | secrets | {"POSTGRES_USER": server.username or "postgres"}
    try:
        done = subprocess.run(["sh"], input=script, env=variables, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no POSIX shell")
    if "psql: not found" in done.stderr:
        pytest.skip("PostgreSQL: its client psql is not installed")
    assert done.returncode == 0, done.stderr


def _tables(url: URL) -> set[str]:
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    return set(sqlalchemy.inspect(engine).get_table_names())


def test_each_part_opens_its_own_database_and_no_other(databases: dict[str, URL]) -> None:
    for part, url in databases.items():
        assert _tables(url) == set(), part
        for other in databases.values():
            if other.database != url.database:
                with pytest.raises(sqlalchemy.exc.OperationalError, match="permission denied for database"):
                    _tables(url.set(database=other.database))


def test_the_ledger_promotes_in_its_database(databases: dict[str, URL]) -> None:
    book = Ledger(databases["holdfast"].render_as_string(hide_password=False))
    assert book.promote("toy", "1", "digest", 0, why="smoke", who="me").generation == 1
    found = book.champion("toy")
    assert found is not None and found.version == "1"


@pytest.mark.slow
def test_mlflow_keeps_runs_and_aliases_in_its_database(
    databases: dict[str, URL], home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", databases["mlflow"].render_as_string(hide_password=False))
    client = tracking.client(home)
    run = client.create_run(tracking.experiment(client, "smoke", home))
    client.log_metric(run.info.run_id, "accuracy", 0.5)
    client.create_registered_model("toy")
    version = client.create_model_version("toy", source=(home.path / "toy").as_uri(), run_id=run.info.run_id)
    client.set_registered_model_alias("toy", "champion", version.version)
    assert client.get_run(run.info.run_id).data.metrics == {"accuracy": 0.5}
    assert client.get_model_version_by_alias("toy", "champion").version == version.version
    assert {"runs", "registered_model_aliases"} <= _tables(databases["mlflow"])


# A server's own application, in process: its tables are made, and it answers a client.
_PREFECT = """
import asyncio
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.server.api.server import create_app
from prefect.server.database import provide_database_interface
from prefect.states import Completed

async def smoke():
    await provide_database_interface().create_db()
    async with PrefectClient(create_app(ephemeral=True)) as client:
        await client.create_work_pool(WorkPoolCreate(name="pool", type="process"))
        flow = await client.create_flow_from_name("smoke")
        deployment = await client.create_deployment(flow, "one", work_pool_name="pool", entrypoint="flows.adapt.adapt")
        run = await client.create_flow_run_from_deployment(deployment)
        await client.set_flow_run_state(run.id, Completed(message="done"), force=True)
        found = await client.read_flow_run(run.id)
        print(found.state.type.value, found.work_pool_name)

asyncio.run(smoke())
"""


@pytest.mark.slow
def test_prefect_keeps_deployments_and_runs_in_its_database(databases: dict[str, URL], tmp_path: Path) -> None:
    url = databases["prefect"].set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)
    given = {"PREFECT_HOME": str(tmp_path), "PREFECT_SERVER_DATABASE_CONNECTION_URL": url}
    done = subprocess.run(
        [sys.executable, "-c", _PREFECT],
        env=os.environ | given, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["COMPLETED", "pool"]
    assert {"flow_run", "deployment", "work_pool", "automation"} <= _tables(databases["prefect"])
    engine = sqlalchemy.create_engine(databases["prefect"], poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT name FROM work_pool").scalars().all() == ["pool"]
