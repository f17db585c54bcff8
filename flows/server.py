"""Prefect's temporary server: begun before Prefect asks for it, on a database that is made, and ended with us.

Prefect first imports the whole server itself, to start another process that does. And it stops that one at a normal
exit only; a killed run would leave it behind, waiting for nobody for ever.
"""

import os
import subprocess
import sys
from typing import Any

from flows import bare, prefect_database
from holdfast import services
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
_watchers: list[subprocess.Popen] = []  # kept, because each holds the pipe whose closing its process waits for


def ready(home: Home) -> None:
    """Begin the temporary server that Prefect will ask for, and have it stopped as soon as this process is no more.

    Nothing is done where flows run bare, where `PREFECT_API_URL` names another, or once one was begun here.
    """
    if bare.on() or os.environ.get("PREFECT_API_URL") or _watchers:
        return
    prefect_database.begin(home)
    port = services.free_port(None)
    begun = [_begin(port)]
    _watch(begun[0].pid)

    from prefect.server.api.server import SubprocessASGIServer  # takes as long as the server's own first steps

    choose, start = SubprocessASGIServer.find_available_port, SubprocessASGIServer._run_uvicorn_command

    def chosen(server: SubprocessASGIServer) -> int:
        return port if begun else choose(server)

    def started(server: SubprocessASGIServer) -> subprocess.Popen[Any]:
        if begun and server.port == port:
            return begun.pop()
        process: subprocess.Popen[Any] = start(server)  # what was begun ended at once: its port was taken meanwhile
        _watch(process.pid)
        return process

    SubprocessASGIServer.find_available_port = chosen
    SubprocessASGIServer._run_uvicorn_command = started


def _begin(port: int) -> subprocess.Popen[Any]:
    """Start the server as Prefect does (`SubprocessASGIServer._run_uvicorn_command`)."""
    import prefect
    from prefect.settings import get_current_settings

    line = ["uvicorn", "--app-dir", str(prefect.__module_path__.parent), "--factory"]
    line += ["prefect.server.api.server:create_app", "--host", "127.0.0.1", "--port", str(port)]
    line += ["--log-level", "error", "--lifespan", "on"]
    own = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
    told = get_current_settings().to_environment_variables(exclude_unset=True)
    return subprocess.Popen([sys.executable, "-m", *line], env={**os.environ, **own, **told})


def _watch(pid: int) -> None:
    """Start a watcher of this process, out of reach of Ctrl-C."""
    line = [sys.executable, "-I", "-S", "-c", _WATCHER, str(pid)]
    silent = subprocess.DEVNULL
    watcher = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=silent, stderr=silent, start_new_session=True)
    _watchers.append(watcher)
