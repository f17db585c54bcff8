"""Prefect's temporary server ends with the process that started it, however that ends.

Prefect stops it at a normal exit only; a killed run would leave it behind, waiting for nobody for ever.
"""

import os
import subprocess
from typing import Any

_watchers: list[subprocess.Popen] = []  # kept, because each holds the pipe whose closing its shell waits for


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
    """Start a shell, out of reach of Ctrl-C, that waits for the end of its input, which is ours, and stops `pid`."""
    line = ["/bin/sh", "-c", f"read _; kill {pid}"]
    silent = subprocess.DEVNULL
    watcher = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=silent, stderr=silent, start_new_session=True)
    _watchers.append(watcher)
