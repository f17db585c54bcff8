"""Starting and stopping what `holdfast up` runs for one home: a Prefect server, an MLflow server and a worker.

All on the loopback interface, with Prefect's CSRF protection on and nothing sent anywhere. Each has the home's settings
and none of the user's: no Prefect profile, no `PREFECT_*` variable, no settings file of the folder it was called in.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from flows import prefect_database
from holdfast import home as homes
from holdfast import services
from holdfast.errors import BadInput, HoldfastError
from holdfast.home import Home
from holdfast.services import Up

POOL = "holdfast"
ROLES = ("prefect", "mlflow", "worker")
_ROOT = Path(__file__).resolve().parents[1]
_HEALTH = {"prefect": "/api/health", "mlflow": "/health"}
_PATIENCE = 300.0  # seconds until a server that does not answer is given up
_GENTLY = 20.0  # seconds for a process to end in its own way
_ROUNDS = 10  # looks at what is left of a role that is being stopped
_LEASES = "prefect.server.concurrency.lease_storage.filesystem"  # those in memory would be lost with the server


def start(home: Home, up: Up, announce: Callable[[str], None]) -> list[str]:
    """Start the servers that are not running and wait until they answer; return the roles that were started.

    Ports stay what they were as long as they are free, so that a run that is under way finds its server again.
    """
    started = [role for role in ("prefect", "mlflow") if role not in _given() and not services.runs(up, role)]
    for role in started:
        services.stop(up, _of(up, role), _GENTLY)
        up.addresses[role] = f"http://127.0.0.1:{services.free_port(up.addresses.get(role))}"
        services.write(home, up)
        announce(f"starting {role} at {up.addresses[role]}")
        _make_ready(home, up, role)
        _spawn(home, up, role, _line(home, up, role))
    up.addresses |= _given()
    for role in started:
        _wait(home, up, role)
    up.made = True
    services.write(home, up)
    return started


def start_worker(home: Home, up: Up, announce: Callable[[str], None]) -> None:
    """Start the worker; runs that one before it left behind go on."""
    announce(f"starting a worker of the pool {POOL}")
    _spawn(home, up, "worker", _line(home, up, "worker"))


def stop(home: Home, up: Up) -> int:
    """Stop all that was started, however much of it is left: worker, runs, servers; return how many processes."""
    ended: set[int] = set()
    for role in reversed(ROLES):
        ended.update(_bearers(up, role))
        services.stop(up, [pid for pid in ended if pid == up.processes.get(role)], _GENTLY)
        for _ in range(_ROUNDS):  # a worker that is being stopped may just have started another run
            if not (left := _bearers(up, role)):
                break
            ended.update(left)
            services.stop(up, left, _GENTLY)
    up.processes = {}
    services.write(home, up)
    return len(ended)


def variables(home: Home, up: Up, role: str) -> dict[str, str]:
    """Return the whole environment of a role."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    given = {**kept, **homes.environment(home), services.TOKEN: up.token, services.ROLE: role}
    given["PYTHONPATH"] = os.pathsep.join([str(_ROOT), *filter(None, [kept.get("PYTHONPATH")])])
    return {**given, **(_tracking(up) if role == "mlflow" else _orchestration(home, up))}


def _given() -> dict[str, str]:
    """Return the addresses of servers that the user named and that are therefore not started here."""
    named = os.environ.get("MLFLOW_TRACKING_URI", "")
    return {"mlflow": named} if named.startswith("http") else {}


def _orchestration(home: Home, up: Up) -> dict[str, str]:
    address, place = up.addresses["prefect"], home.path / "prefect"
    return {
        "PREFECT_API_URL": f"{address}/api",
        "PREFECT__SERVER_FINAL": "1",
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": address,
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{place / 'up.db'}",
        "PREFECT_SERVER_DATABASE_TIMEOUT": "60",  # seconds to wait for a lock, on a machine that has much to do
        "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "60",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": _LEASES,
        "PREFECT_SERVER_UI_API_URL": f"{address}/api",
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(place / "ui"),
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "5",
        "PREFECT_LOGGING_LEVEL": os.environ.get("HOLDFAST_LOG", "WARNING").upper(),
    }


def _tracking(up: Up) -> dict[str, str]:
    """Return the settings of `mlflow/server.env`, with the port that was found free."""
    lines = (_ROOT / "mlflow" / "server.env").read_text(encoding="utf-8").splitlines()
    shipped = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    port = up.addresses["mlflow"].rpartition(":")[2]
    given = {name: value.replace(shipped["MLFLOW_PORT"], port) for name, value in shipped.items()}
    return {**given, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def _line(home: Home, up: Up, role: str) -> list[str]:
    """Return the command line of a role, without the interpreter."""
    if role == "worker":
        return ["prefect", "worker", "start", "--pool", POOL, "--type", "process", "--name", f"up-{up.token[:8]}"]
    port = up.addresses[role].rpartition(":")[2]
    if role == "prefect":
        server = ["uvicorn", "--factory", "prefect.server.api.server:create_app", "--log-level", "warning"]
        return [*server, "--host", "127.0.0.1", "--port", port, "--timeout-graceful-shutdown", "5"]
    store, place = ["--backend-store-uri", home.tracking_uri], (home.path / "mlartifacts").as_uri()
    return ["mlflow", "server", "--workers", "1", "--port", port, *store, "--artifacts-destination", place]


def _make_ready(home: Home, up: Up, role: str) -> None:
    """Make databases whole before a server uses them; one of Prefect's that never was is begun anew."""
    if role == "mlflow":
        from holdfast.registry import tracking

        tracking.client(home)
    elif not up.made:
        for part in (home.path / "prefect").glob("up.db*"):
            part.unlink()
    (home.path / "prefect").mkdir(exist_ok=True)
    if role == "prefect":
        prefect_database.begin(home, "up.db")


def _spawn(home: Home, up: Up, role: str, line: list[str]) -> None:
    """Start a process that outlives this one, with a log of its own, and write its number down."""
    place = services.folder(home)
    with (place / f"{role}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *line], cwd=place, env=variables(home, up, role),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    up.processes[role] = process.pid
    services.write(home, up)


def _bearers(up: Up, role: str) -> list[int]:
    """Return the processes of a role, with the runs that a worker started."""
    return [pid for pid, given in services.found(up).items() if given.get(services.ROLE) == role]


def _of(up: Up, role: str) -> list[int]:
    """Return the processes of a role, without the runs that a worker started."""
    bearers: Mapping[int, dict[str, str]] = services.found(up)
    return [pid for pid, given in bearers.items() if given.get(services.ROLE) == role and services.RUN not in given]


def left_over(up: Up, role: str) -> None:
    """Stop what a killed process of a role left running beside its runs."""
    services.stop(up, _of(up, role), _GENTLY)


def _wait(home: Home, up: Up, role: str) -> None:
    until = time.monotonic() + _PATIENCE
    while not answers(up, role):
        if not services.runs(up, role) or time.monotonic() > until:
            raise HoldfastError(f"{role} did not start; its log is {services.folder(home) / role}.log")
        time.sleep(0.3)


def answers(up: Up, role: str) -> bool:
    """Say whether a server answers at its address."""
    try:
        with urlopen(up.addresses[role] + _HEALTH[role], timeout=5) as reply:
            return bool(reply.status == 200)
    except (OSError, HTTPException, KeyError):
        return False


def refuse_other_server() -> None:
    """Raise `BadInput` where the user has a Prefect server of their own: `up` would be in its way."""
    if os.environ.get("PREFECT_API_URL"):
        raise BadInput(
            "names a Prefect server of yours, and `holdfast up` starts one of its own",
            key="PREFECT_API_URL",
            remedy="Unset it, or register the deployments there: `prefect deploy --all` (prefect.yaml).",
        )
