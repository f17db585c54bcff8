"""Prefect's temporary server ends with the process that started it, however that ends.

Prefect stops it at a normal exit only; a killed run would leave it behind, waiting for nobody for ever.
"""

import os
import subprocess
import sys
from typing import Any

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


def end_with_us() -> None:
    """Have a temporary server, if Prefect starts one, stopped as soon as this process is no more."""
    if os.environ.get("PREFECT_API_URL"):
        return
    from prefect.server.api.server import SubprocessASGIServer

    start = SubprocessASGIServer._run_uvicorn_command
    if start.__module__ == __name__:
        return

    def watched(server: SubprocessASGIServer) -> subprocess.Popen[Any]:
        process: subprocess.Popen[Any] = start(server)
        _watch(process.pid)
        return process

    SubprocessASGIServer._run_uvicorn_command = watched


def _watch(pid: int) -> None:
    """Start a watcher of this process, out of reach of Ctrl-C."""
    line = [sys.executable, "-I", "-S", "-c", _WATCHER, str(pid)]
    silent = subprocess.DEVNULL
    watcher = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=silent, stderr=silent, start_new_session=True)
    _watchers.append(watcher)
