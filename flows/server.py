"""Prefect's temporary server: begun, waited for and ended here, so that Prefect never imports its server into a run.

Asked for one, Prefect imports the whole server, seconds of work, to start another process that does so again. And it
stops that process at a normal exit only; a killed run would leave it behind.
"""

import atexit
import importlib
import os
import subprocess
import sys
import time
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException

from flows import bare, prefect_database
from holdfast import services
from holdfast.errors import HoldfastError
from holdfast.home import Home

# Waits for the end of its input, which is the end of the process that started it, and then stops the process named.
# Where the system has handles on processes, one is taken at once: a number may mean another process by then.
_WATCHER = """
import os, signal, sys
pid = int(sys.argv[1])
try:
    handle = os.pidfd_open(pid)
    stop = lambda: signal.pidfd_send_signal(handle, signal.SIGTERM)
except (AttributeError, OSError):
    stop = lambda: os.kill(pid, signal.SIGTERM)
sys.stdin.read()
try:
    stop()
except ProcessLookupError:
    pass
"""
_NEEDED = ("mlflow", "dvc.repo", "torch")  # by the stages: imported while the server starts
_TRIES = 3  # ports: one that was free may be taken before the server has it
_GENTLY = 5.0  # seconds that a server is given to end
_watchers: list[subprocess.Popen] = []  # kept, because each holds the pipe whose closing its process waits for


def ready(home: Home) -> None:
    """Start a temporary server for this process alone, and have it stopped as soon as this process is no more.

    Nothing is done where flows run bare, where `PREFECT_API_URL` names another, or once one was started here. Raises
    `HoldfastError` where none starts.
    """
    if bare.on() or os.environ.get("PREFECT_API_URL") or _watchers:
        return
    prefect_database.begin(home)
    for _ in range(_TRIES):
        port = services.free_port(None)
        server = _begin(port)
        if _answers(server, port):
            _use(f"http://127.0.0.1:{port}/api")
            return
        if server.poll() is None:  # it had time enough
            break
    raise HoldfastError("Prefect's temporary server did not start; what it says of it stands above")


def _begin(port: int) -> subprocess.Popen:
    """Start the server as Prefect does (`SubprocessASGIServer._run_uvicorn_command`), and its watcher."""
    import prefect
    from prefect.settings import get_current_settings

    line = ["uvicorn", "--app-dir", str(prefect.__module_path__.parent), "--factory"]
    line += ["prefect.server.api.server:create_app", "--host", "127.0.0.1", "--port", str(port)]
    line += ["--log-level", "error", "--lifespan", "on"]
    own = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
    told = get_current_settings().to_environment_variables(exclude_unset=True)
    server = subprocess.Popen([sys.executable, "-m", *line], env={**os.environ, **own, **told})
    _watch(server.pid)
    atexit.register(_end, server)
    return server


def _answers(server: subprocess.Popen, port: int) -> bool:
    """Import what the stages need, then wait for the server; say whether it answers."""
    from prefect.settings import PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS as PATIENCE

    until = time.monotonic() + PATIENCE.value()
    for module in _NEEDED:
        importlib.import_module(module)
    while server.poll() is None and time.monotonic() < until:
        with suppress(OSError, HTTPException), closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            connection.request("GET", "/api/health")
            if connection.getresponse().status == 200:
                return True
        time.sleep(0.1)
    return False


def _use(address: str) -> None:
    """Make a server the one of Prefect in this process; what this process starts is not told of it."""
    from prefect import context

    os.environ["PREFECT_API_URL"] = address
    try:
        context.refresh_global_settings_context()
    finally:
        del os.environ["PREFECT_API_URL"]


def _end(server: subprocess.Popen) -> None:
    server.terminate()
    try:
        server.wait(_GENTLY)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _watch(pid: int) -> None:
    """Start a watcher of this process, out of reach of Ctrl-C."""
    line = [sys.executable, "-I", "-S", "-c", _WATCHER, str(pid)]
    silent = subprocess.DEVNULL
    watcher = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=silent, stderr=silent, start_new_session=True)
    _watchers.append(watcher)
