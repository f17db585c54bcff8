"""What `holdfast up` started for a home: a token, addresses and processes, kept in the home's folder `up`.

A process is known by its number and by the token, which it was given in its environment: a number that means another
process by now is never taken for ours, and what a crash left behind is found without its number. Linux also gives
handles on processes, so that nothing can come between the look and the signal.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from holdfast.errors import Conflict

if TYPE_CHECKING:
    from holdfast.home import Home

TOKEN, ROLE, RUN = "HOLDFAST_UP", "HOLDFAST_UP_ROLE", "PREFECT__FLOW_RUN_ID"
_GONE = 0.1  # seconds between two looks at whether a process is gone


class Up(BaseModel):
    """What was started: `addresses` and process numbers by role (`prefect`, `mlflow`, `worker`), the pipeline files.

    `made` says that Prefect's database was whole once; `every` is the seconds between two rounds of watching.
    """

    token: str = Field(default_factory=lambda: secrets.token_hex(16))
    addresses: dict[str, str] = {}
    processes: dict[str, int] = {}
    files: list[str] = []
    every: float = 900.0
    made: bool = False


def folder(home: Home) -> Path:
    """Return where the services' logs and records lie."""
    return home.path / "up"


def read(home: Home) -> Up | None:
    """Return what was started, None where nothing ever was."""
    try:
        return Up.model_validate_json((folder(home) / "state.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def write(home: Home, up: Up) -> None:
    """Write down what was started, at once or not at all."""
    place = folder(home) / "state.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(up.model_dump(), indent=1), encoding="utf-8")
    part.replace(place)


@contextlib.contextmanager
def alone(home: Home) -> Iterator[None]:
    """Let one process at a time start and stop services; raises `Conflict` where another one is at it."""
    folder(home).mkdir(parents=True, exist_ok=True)
    with (folder(home) / "lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Conflict(f"another `holdfast up` or `down` is at work on {home.path}; wait for it to end") from error
        yield


def runs(up: Up, role: str) -> bool:
    """Say whether the process of a role is alive."""
    return role in up.processes and _environment(up.processes[role]).get(TOKEN) == up.token


def address(home: Home, role: str = "prefect") -> str | None:
    """Return the address at which a role of this home answers, None where it is not up."""
    up = read(home)
    if up is None or role not in up.addresses or not runs(up, role):
        return None
    host, _, port = up.addresses[role].removeprefix("http://").partition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
        return up.addresses[role]
    return None


def free_port(wanted: str | None) -> int:
    """Return a port of the loopback interface that is free, that of the address `wanted` where it is."""
    named = int(wanted.rpartition(":")[2]) if wanted else 0
    for port in (named, 0):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise Conflict("no port of 127.0.0.1 is free")


def found(up: Up) -> dict[int, dict[str, str]]:
    """Return every living process that was started by `up` or by what it started, with its environment."""
    import psutil

    every = {pid: _environment(pid) for pid in psutil.pids() if pid != os.getpid()}
    return {pid: given for pid, given in every.items() if given.get(TOKEN) == up.token}


def stop(up: Up, pids: Iterable[int], seconds: float) -> None:
    """End processes that bear the token: by SIGTERM, and after so many seconds by SIGKILL."""
    left = [pid for pid in pids if _signal(up, pid, signal.SIGTERM)]
    until = time.monotonic() + seconds
    while left and time.monotonic() < until:
        time.sleep(_GONE)
        left = [pid for pid in left if _environment(pid).get(TOKEN) == up.token]
    while left:
        left = [pid for pid in left if _signal(up, pid, signal.SIGKILL)]
        time.sleep(_GONE)


def _signal(up: Up, pid: int, number: int) -> bool:
    """Send a signal to a process if it bears the token; say whether it did."""
    try:
        with _handle(pid) as handle:
            if _environment(pid).get(TOKEN) != up.token:
                return False
            if handle is None:
                os.kill(pid, number)
            else:
                signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    return True


@contextlib.contextmanager
def _handle(pid: int) -> Iterator[int | None]:
    """Give a handle on a process, None where the system has no such thing."""
    if not hasattr(os, "pidfd_open"):
        yield None
        return
    handle = os.pidfd_open(pid)
    try:
        yield handle
    finally:
        os.close(handle)


def _environment(pid: int) -> dict[str, str]:
    """Return the environment that a process was started with, nothing where it is gone or not ours to read."""
    import psutil

    try:
        return dict(psutil.Process(pid).environ())
    except (psutil.Error, OSError):
        return {}
