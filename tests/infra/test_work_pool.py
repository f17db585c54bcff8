"""Tuning in another work pool: two workers, a folder and a home for each, nothing but servers between."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml

from holdfast import tables
from holdfast.home import Home
from holdfast.records import Artifact

pytestmark = [pytest.mark.service, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]
LONG = 900.0  # seconds that a busy machine may take for a part


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(place: Path, environment: dict[str, str], *args: str) -> Iterator[Path]:
    """Run `python -m ARGS` in a folder of its own, its output in `log.txt` there; it and what it starts end here."""
    place.mkdir()
    log = place / "log.txt"
    with log.open("w") as stream:
        line = [sys.executable, "-m", *args]
        process = subprocess.Popen(
            line, cwd=place, env=environment, stdout=stream, stderr=stream, start_new_session=True
        )  # fmt: skip
    try:
        yield log
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def until(true: Callable[[], Any], log: Path) -> Any:
    """Return what `true` returns once it is something."""
    patience = time.monotonic() + LONG
    while time.monotonic() < patience:
        found = true()
        if found:
            return found
        time.sleep(0.3)
    raise AssertionError(log.read_text()[-4000:])


def answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


@pytest.fixture
def servers(tmp_path: Path, store: tuple[str, Any]) -> Iterator[dict[str, str]]:
    """A Prefect server, and an MLflow server with its artifacts on S3; the environment of who talks to them."""
    ports = free_port(), free_port()
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "HOLDFAST_"))}
    own |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}
    own["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_SERVER_UI_ENABLED": "false"}
    prefect = own | quiet | {"PREFECT_HOME": str(tmp_path / "prefect-home")}
    prefect["PREFECT_SERVER_CSRF_PROTECTION_ENABLED"] = "true"
    prefect_args = ("prefect", "server", "start", "--host", "127.0.0.1", "--port", str(ports[0]))
    mlflow_args = ("mlflow", "server", "--host", "127.0.0.1", "--port", str(ports[1]), "--workers", "1")
    kept = ("--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--artifacts-destination", "s3://holdfast/mlflow")
    with ExitStack() as stack:
        one = stack.enter_context(running(tmp_path / "prefect", prefect, *prefect_args))
        other = stack.enter_context(running(tmp_path / "mlflow", own, *mlflow_args, *kept))
        until(lambda: answers(f"http://127.0.0.1:{ports[0]}/api/health"), one)
        until(lambda: answers(f"http://127.0.0.1:{ports[1]}/health"), other)
        addresses = [f"http://127.0.0.1:{port}" for port in ports]
        named = {"PREFECT_API_URL": f"{addresses[0]}/api"}
        named |= {"MLFLOW_TRACKING_URI": addresses[1], "MLFLOW_REGISTRY_URI": addresses[1]}
        # Clients know nothing of the store: only the server does.
        clients = {name: value for name, value in own.items() if not name.startswith(("AWS_", "MLFLOW_S3"))}
        yield clients | named


@pytest.fixture
def toy(tmp_path: Path, tiny_base: Path, toy_rows: list[dict[str, str]]) -> Path:
    """A pipeline file whose base is a folder of this machine, as its data are."""
    folder = tmp_path / "project"
    folder.mkdir()
    tables.write(folder / "train.csv", iter(toy_rows))
    training = {"epochs": 2, "learning_rate": 3e-3, "precision": "fp32"}
    learn = {"train": "train.csv", "expect": ["no-empty-text"]}
    file = {"name": "toy", "start": {"model": str(tiny_base)}, "learn": learn, "training": training}
    (folder / "toy.yaml").write_text(yaml.safe_dump(file | {"assess": {"examples": 16}}))
    return folder / "toy.yaml"


def run_here(file: Path, home: Path, servers: dict[str, str], *changes: str) -> tuple[int, dict[str, Any]]:
    line = [sys.executable, "-c", "from flows.cli import main; main()", "run", str(file), "--home", str(home), "--json"]
    line += [part for change in changes for part in ("--set", change)]
    done = subprocess.run(line, env=servers, cwd=file.parent, capture_output=True, text=True, timeout=LONG)
    try:
        return done.returncode, json.loads(done.stdout)
    except ValueError:
        raise AssertionError(done.stdout + done.stderr) from None


def worker(place: Path, pool: str, servers: dict[str, str]) -> Any:
    """A worker of a pool with a home of its own below `place`, which it is told by its environment alone."""
    own = {"HOLDFAST_HOME": str(place / "home"), "PREFECT_HOME": str(place / "prefect"), "HOME": str(place)}
    return running(place, servers | own, "prefect", "worker", "start", "--pool", pool, "--type", "process")


def test_a_tuning_in_another_pool_gives_the_same_bytes(tmp_path: Path, servers: dict[str, str], toy: Path) -> None:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.actions import WorkPoolCreate

    with SyncPrefectClient(servers["PREFECT_API_URL"]) as client:
        here = tmp_path / "here"
        elsewhere = "run.workers=gpu"
        code, told = run_here(toy, here, servers, elsewhere)
        assert code == 2 and "no work pool `gpu`" in told["error"]
        for pool in ("cpu", "gpu"):
            client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
        code, told = run_here(toy, here, servers, elsewhere, "run.begin_within=0.02")
        assert code == 1 and "no worker of the work pool `gpu`" in told["error"], told
        code, alone = run_here(toy, here, servers)
        assert code in (0, 3)
        adapter = Artifact(kind="adapter", digest=alone["lineage"]["method"]["adapter"])

        flow = client.create_flow_from_name("adapt")
        deployed = client.create_deployment(
            flow, "toy", work_pool_name="cpu", entrypoint="flows.adapt.adapt", pull_steps=[]
        )
        with worker(tmp_path / "one", "cpu", servers) as log, worker(tmp_path / "two", "gpu", servers) as other:
            one, two = Home(tmp_path / "one" / "home"), Home(tmp_path / "two" / "home")
            given = {"file": str(toy), "overrides": [elsewhere], "home": str(one.path)}
            asked = client.create_flow_run_from_deployment(deployed, parameters=given).id

            def ended() -> Any:
                state = client.read_flow_run(asked).state
                return state if state and state.is_final() else None

            state = until(ended, log)
            assert state.is_completed(), f"{state.message}\n{log.read_text()[-3000:]}\n{other.read_text()[-3000:]}"
        (tuned,) = [run for run in client.read_flow_runs() if run.name.startswith("tune ") and run.state.is_completed()]
        assert tuned.work_pool_name == "gpu" and len(tuned.state.message) == 64
    assert two.store.holds(adapter), "the worker made the bytes that were made here"
    assert one.store.holds(adapter), "and they came back"
    assert len(list(two.path.glob("artifacts/*/*/rows.jsonl"))) == 2, "train and valid travelled, the test set did not"
    assert len(list(one.path.glob("artifacts/*/*/rows.jsonl"))) >= 3
    assert not (one.path / "checkpoints").exists() or not list((one.path / "checkpoints").iterdir())
