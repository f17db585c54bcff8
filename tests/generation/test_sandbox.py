"""Programs that try to get out, to hog the machine, or to pass without passing."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holdfast.generation import _confined, sandbox

LIMITS = sandbox.Limits(seconds=2, wall=60, memory=256 << 20, output=20_000)
RIGHT = "def double(x): return 2 * x"
TESTS = ["assert double(2) == 4", "assert double('a') == 'aa'"]
SENDING = """
import os
for i in range(3, 30):
    try: os.write(i, {})
    except OSError: pass
os._exit(0)
"""
BOMB = """
import os
for _ in range(20):
    try:
        if os.fork() == 0: os._exit(0)
    except Exception as error: print(error)
"""
USUAL = """
import bisect, collections, dataclasses, datetime, decimal, fractions, functools, hashlib, heapq, itertools, json, math
import random, re, statistics, string, typing, unicodedata
Pair = collections.namedtuple("Pair", "a b", defaults=[1])
class Named(typing.NamedTuple):
    a: int = 2
@dataclasses.dataclass
class Data:
    a: int = 3
def double(x): return 2 * x
random.random(); datetime.datetime.now(); print(Pair(1), Named(), Data())
"""


def run(code: str, tests=TESTS, limits: sandbox.Limits = LIMITS) -> sandbox.Outcome:
    return sandbox.run(code, tests, limits)


def refused(code: str, said: str) -> None:
    outcome = run(code)
    assert not outcome.passed and outcome.why == "failed"
    assert said in outcome.output, outcome.output


@pytest.mark.parametrize("code", [RIGHT, USUAL])
def test_a_right_program_passes(code):
    outcome = run(code)
    assert outcome.passed and outcome.why == "passed", outcome.output


def test_a_wrong_program_fails_and_its_traceback_is_kept():
    outcome = run("def double(x): return 3 * x")
    assert not outcome.passed and outcome.why == "failed" and "AssertionError" in outcome.output


@pytest.mark.parametrize("code", ["def double(x) return", "double(", "\0", "import numpy", "raise SystemExit(3)"])
def test_what_cannot_run_has_failed(code):
    assert run(code).why == "failed"


@pytest.mark.parametrize(
    "code",
    [
        "import os; os._exit(0)",
        "import sys; sys.exit(0)",
        "raise SystemExit",
        "print('passed'); import os, sys; sys.stdout.flush(); os._exit(0)",
        "def double(x): import os; os._exit(0)",
        SENDING.format("b'x' * 32"),
        SENDING.format("os.read(i, 32)"),
    ],
)
def test_leaving_early_is_not_passing(code):
    assert not run(code, limits=sandbox.Limits(wall=5)).passed


SEARCH = """
import os, sys
found = []
def look(value, depth=0):
    if isinstance(value, (bytes, bytearray)) and len(value) == 32: found.append(bytes(value))
    elif isinstance(value, dict) and depth < 4:
        for inner in list(value.values()): look(inner, depth + 1)
    elif isinstance(value, (list, tuple)) and depth < 4:
        for inner in value: look(inner, depth + 1)
frame = sys._getframe()
while frame:
    look(frame.f_locals); look(frame.f_globals); look(frame.f_code.co_consts)
    frame = frame.f_back
for value in found:
    for i in range(3, 30):
        try: os.write(i, value)
        except OSError: pass
os._exit(0)
"""


@pytest.mark.parametrize(
    "code",
    [
        SEARCH,
        "import gc; gc.get_objects()",
        "import builtins; builtins.exec = lambda *given: None",
        "import sys; sys.settrace(lambda *given: None)",
        "import ctypes",
        "import sys; sys._getframe(1).f_globals['exec'] = lambda *given: None",
        "import os; os._exit = print; os.write = print",
        "AssertionError = None; assert_ = None",
        "import atexit, os; atexit.register(os._exit, 0)",
        "open('/proc/self/mem')",
    ],
)
def test_the_token_is_not_to_be_had(code):
    assert not run(code).passed


def test_an_infinite_loop_is_ended_by_processor_time():
    start = time.monotonic()
    assert run("while True: pass", limits=sandbox.Limits(seconds=1, wall=1000)).why == "time"
    assert time.monotonic() - start < 500


def test_waiting_is_ended_by_the_clock():
    code = (
        "import signal, time\nfor s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(s, signal.SIG_IGN)"
    )
    assert run(f"{code}\ntime.sleep(100)", limits=sandbox.Limits(wall=1)).why == "time"
    assert (
        run("import os, time; os.close(1); os.close(2); time.sleep(100)", limits=sandbox.Limits(wall=1)).why == "time"
    )


def test_printing_endlessly_is_ended_by_output():
    outcome = run("while True: print('x' * 1000)")
    assert outcome.why == "output" and len(outcome.output) == LIMITS.output
    assert run("import sys\nwhile True: sys.stderr.write('x' * 1000)").why == "output"


def test_memory_is_bounded():
    refused("x = bytearray(10 ** 10)", "MemoryError")
    refused("x = []\nwhile True: x.append(bytes(10 ** 7))", "MemoryError")


def test_no_process_and_no_thread_is_started():
    assert run(BOMB).output.count("not allowed") == 20
    refused("import subprocess; subprocess.run(['true'])", "not allowed")
    refused("import os; os.execv('/bin/true', ['true'])", "not allowed")
    refused("import threading; threading.Thread(target=print).start()", "can't start new thread")
    refused("import multiprocessing as m; m.Process(target=print).start()", "Error")


def test_nothing_outside_the_standard_library_is_read(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    for code in (f"print(open({str(secret)!r}).read())", f"import os; print(os.read(os.open({str(secret)!r}, 0), 99))"):
        outcome = run(code)
        assert outcome.why == "failed" and "the secret" not in outcome.output
    refused(f"print(open('/proc/{os.getpid()}/environ').read())", "Error")
    refused(f"print(open({_confined.__file__!r}).read())", "Error")


def test_nothing_is_written_and_nothing_stays():
    before = set(Path("/tmp").glob("holdfast-sandbox-*"))
    refused("open('big', 'w').write('x' * 10 ** 9)", "Permission")
    refused("import os; os.mkdir('folder'); open('folder/x', 'w').write('y')", "rror")
    refused("open('/tmp/holdfast-was-here', 'w')", "not allowed")
    assert set(Path("/tmp").glob("holdfast-sandbox-*")) <= before


CHANGES = [
    "os.chmod(PATH, 0o600)", "os.fchmod(os.open(PATH, 0), 0o600)", "os.chown(PATH, -1, os.getgid())",
    "os.lchown(PATH, -1, os.getgid())", "os.utime(PATH, (1, 1))", "os.remove(PATH)", "os.unlink(PATH)",
    "os.rename(PATH, PATH + '2')", "os.replace(PATH, PATH + '2')", "os.rmdir(PATH + '.d')", "os.mkdir(PATH + '2')",
    "os.link(PATH, PATH + '2')", "os.symlink(PATH, PATH + '2')", "os.truncate(PATH, 0)", "shutil.rmtree(PATH + '.d')",
    "shutil.move(PATH, PATH + '2')", "shutil.copymode(PATH, PATH + '.d')",
]  # fmt: skip
OF_ATTRIBUTES = ["os.setxattr(PATH, 'user.holdfast', b'1')", "os.removexattr(PATH, 'user.holdfast')"]
OF_THE_PARENT = [
    "os.setpriority(os.PRIO_PROCESS, os.getppid(), os.getpriority(os.PRIO_PROCESS, os.getppid()))",
    "os.sched_setaffinity(os.getppid(), os.sched_getaffinity(os.getppid()))",
    "os.sched_setscheduler(os.getppid(), os.SCHED_OTHER, os.sched_param(0))",
]


def kept(folder: Path) -> Path:
    """Return a file in a folder, with a folder and an attribute (where the file system has them) beside it."""
    file = folder / "kept.txt"
    file.write_text("x")
    (folder / "kept.txt.d").mkdir()
    with contextlib.suppress(OSError):
        os.setxattr(file, "user.holdfast", b"0")
    return file


TRYING = """
import os, shutil
for change in {changes}:
    try: exec(change)
    except PermissionError: continue
    except OSError as error: print(change, error)
    else: print(change)
"""


def state(folder: Path) -> list[tuple[Path, os.stat_result]]:
    return [(path, path.stat()) for path in sorted(folder.iterdir())]


def test_no_file_outside_is_changed(tmp_path):
    file = str(kept(tmp_path))
    changes = [change.replace("PATH", repr(file)) for change in CHANGES + OF_ATTRIBUTES]
    before = state(tmp_path)
    outcome = run(TRYING.format(changes=changes) + RIGHT)
    assert outcome.passed and not outcome.output
    assert state(tmp_path) == before


def test_how_the_parent_runs_is_not_changed():
    outcome = run(TRYING.format(changes=OF_THE_PARENT) + RIGHT)
    if "seccomp" not in outcome.barriers:
        pytest.skip("this kernel has no seccomp")
    assert outcome.passed and not outcome.output


@pytest.mark.parametrize("how", ["import {}", "import importlib; importlib.import_module('{}')"])
def test_no_second_interpreter_is_made(how):
    module = "_xxsubinterpreters" if sys.version_info < (3, 13) else "_interpreters"
    outcome = run(f"{how.format(module)}; import sys; sys.modules['{module}'].create()\n{RIGHT}")
    assert outcome.why == "failed" and "not allowed" in outcome.output


def test_no_socket_is_opened():
    refused("import socket; socket.socket()", "not allowed")
    refused("import _socket; _socket.socket(1, 1)", "not allowed")
    refused("import urllib.request; urllib.request.urlopen('http://127.0.0.1:1')", "not allowed")


def test_the_parent_is_not_touched_and_its_environment_not_seen(monkeypatch):
    monkeypatch.setenv("HOLDFAST_SECRET", "42")
    refused("import os; os.kill(os.getppid(), 9)", "not allowed")
    assert run("import os; assert 'HOLDFAST_SECRET' not in os.environ\n" + RIGHT).passed
    assert run(
        "import os, sys; assert os.listdir('.') == [] and sys.stdin is None or sys.stdin.closed\n" + RIGHT
    ).passed


def alone(barrier: str, attempt: str, tmp_path: Path) -> str:
    """What an attempt prints under one of the kernel's barriers and nothing else."""
    script = f"""
import ctypes, importlib.util, os, shutil, socket, sys
spec = importlib.util.spec_from_file_location("inside", {_confined.__file__!r})
inside = importlib.util.module_from_spec(spec); spec.loader.exec_module(inside)
libc = ctypes.CDLL(None, use_errno=True)
print(inside.{barrier})
try:
    {attempt}
    print("done")
except OSError as error:
    print(type(error).__name__)
"""
    command = [sys.executable, "-I", "-S", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False).stdout


@pytest.mark.parametrize(
    ("barrier", "attempt", "seen"),
    [
        ("leave_network(libc)", "socket.create_connection(('127.0.0.1', PORT), 1)", "OSError"),
        ("forbid_files(libc, ['/usr/lib'])", "open('here.txt')", "PermissionError"),
        ("forbid_files(libc, ['/usr/lib'])", "open('new.txt', 'w')", "PermissionError"),
        ("forbid_calls(libc)", "socket.socket()", "PermissionError"),
        ("forbid_calls(libc)", "os.fork()", "PermissionError"),
        ("forbid_calls(libc)", "os.kill(os.getppid(), 0)", "PermissionError"),
        ("forbid_calls(libc)", "os.execv('/bin/echo', ['echo', 'done'])", "PermissionError"),
        ("limit(dict(seconds=1, memory=1 << 30))", "open('new.txt', 'w', buffering=1).write('x\\n')", "OSError"),
    ],
)
def test_every_barrier_holds_by_itself(barrier, attempt, seen, tmp_path):
    import socket

    (tmp_path / "here.txt").write_text("x")
    with socket.create_server(("127.0.0.1", 0)) as server:
        attempt = attempt.replace("PORT", str(server.getsockname()[1]))
        assert "done" in alone("limit", attempt, tmp_path)  # without the barrier it works
        said = alone(barrier, attempt, tmp_path).split()
    if said[0] == "False":
        pytest.skip(f"this kernel does not allow {barrier}")
    assert said[1:] == [seen]


@pytest.mark.parametrize(
    ("barrier", "attempt"),
    [("refuse_events(['/'])", attempt) for attempt in CHANGES + OF_ATTRIBUTES]
    + [("forbid_calls(libc)", attempt) for attempt in [*CHANGES[:5], *OF_ATTRIBUTES, *OF_THE_PARENT]]
    + [("forbid_calls(libc)", "os.mkfifo(PATH + '2')")],
)
def test_changes_are_refused_by_the_interpreter_alone_and_by_seccomp_alone(barrier, attempt, tmp_path):
    attempt = attempt.replace("PATH", repr(kept(tmp_path).name))
    said = alone(barrier, attempt, tmp_path).split()
    if said[0] == "False":
        pytest.skip(f"this kernel does not allow {barrier}")
    assert said[1:] == ["PermissionError"]
    without = alone("limit", attempt, tmp_path).split()[-1]
    assert without == "done" or ("xattr" in attempt and without == "OSError")  # some file systems have none
