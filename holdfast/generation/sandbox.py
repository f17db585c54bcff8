"""Programs that a model wrote, run against tests in a process of their own that can do next to nothing.

The process is an isolated interpreter (`python -I -S`: the standard library alone) with an empty environment, in an
empty folder that is removed afterwards. Its limits on processor time, memory, output, open files, file sizes (none may
be written) and processes (none may be started, nor threads) are `resource.setrlimit`'s; when it ends, or time or
output run out, its whole process group is killed. Beyond that it is confined by what the kernel offers, and
`Outcome.barriers` says what held: a `namespace` without a network; `landlock`, which leaves only the standard library
readable; `seccomp`, which refuses sockets, processes, signals, and changes to a file's mode, owner, times or attributes
or to another process's priority. Where the kernel offers none of these (outside Linux, or in some containers) the
interpreter alone refuses files, sockets and processes, by an audit hook: that stops accidents, not an attacker.

A program passes only when a random token comes back that is sent behind the last test: leaving early, printing and
exit codes prove nothing. What no sandbox can see is a program whose values claim to equal everything that they are
compared with.
"""

from __future__ import annotations

import json
import os
import secrets
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

_INSIDE = Path(__file__).with_name("_confined.py")
_TOKEN, _BARRIERS = 32, 64  # bytes


@dataclass(frozen=True)
class Limits:
    """`seconds` of processor time, `wall` seconds in all, bytes of address space, bytes of output."""

    seconds: float = 5.0
    wall: float = 20.0
    memory: int = 512 << 20
    output: int = 64 << 10


@dataclass(frozen=True)
class Outcome:
    """Whether all tests passed; why not (`failed`, `left early`, `time`, `output`, `signal N`); what was printed."""

    passed: bool
    why: str
    output: str
    barriers: tuple[str, ...]


def run(code: str, tests: str | Sequence[str], limits: Limits = Limits()) -> Outcome:
    """Run `code`, then `tests` (statements, usually assertions) in the same namespace; see the module for the limits.

    Raises nothing on account of the program: what cannot be compiled has failed.
    """
    token = secrets.token_bytes(_TOKEN)
    mine, theirs = socket.socketpair()
    with tempfile.TemporaryDirectory(prefix="holdfast-sandbox-") as folder, mine:
        with theirs:
            process = _start(folder, theirs.fileno())
        try:
            mine.sendall(token)
            _send(process.stdin, {"code": code, "tests": _text(tests), "limits": asdict(limits)})
            printed, ended = _listen(process, limits)
        finally:
            _kill(process)
        said = _received(mine)
    passed = ended is None and said[_BARRIERS:] == token
    why = "passed" if passed else ended or _why(process.returncode)
    barriers = said[:_BARRIERS].decode("ascii", "replace").split()
    return Outcome(passed, why, printed.decode("utf-8", "replace"), tuple(barriers))


def _start(folder: str, channel: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", str(_INSIDE), str(channel)],
        cwd=folder,
        env={},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[channel],
        start_new_session=True,
    )


def _text(tests: str | Sequence[str]) -> str:
    return tests if isinstance(tests, str) else "\n".join(tests)


def _send(stream: IO[bytes] | None, program: dict[str, object]) -> None:
    assert stream is not None
    with suppress(BrokenPipeError), stream:
        stream.write(json.dumps(program).encode())


def _listen(process: subprocess.Popen[bytes], limits: Limits) -> tuple[bytes, str | None]:
    """Return what the process printed until its end, and why it was not waited for any longer, if so."""
    stream = process.stdout
    assert stream is not None
    printed, end = b"", time.monotonic() + limits.wall
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while len(printed) <= limits.output:
            if not selector.select(max(0.0, end - time.monotonic())):
                return printed, "time"
            piece = os.read(stream.fileno(), 1 << 16)
            if not piece:
                return printed, _wait(process, end)
            printed += piece
    return printed[: limits.output], "output"


def _wait(process: subprocess.Popen[bytes], end: float) -> str | None:
    """Wait for a process that has closed its output; return `time` where it goes on too long."""
    try:
        process.wait(max(0.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        return "time"
    return None


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()


def _received(channel: socket.socket) -> bytes:
    """Return what the process sent, which has ended: a little more than there should be, so that more is noticed."""
    channel.setblocking(False)
    said = b""
    with suppress(OSError):
        while len(said) <= _BARRIERS + _TOKEN and (piece := channel.recv(256)):
            said += piece
    return said


def _why(code: int) -> str:
    if code == 0:
        return "left early"
    if code == -signal.SIGXCPU or code == -signal.SIGKILL:
        return "time"
    return "failed" if code > 0 else f"signal {-code}"
