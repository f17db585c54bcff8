"""A pool's processes do not stay behind when the one that began them is killed."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows import pools

_ASK = """
import os, sys, time
from flows import pools
if __name__ == "__main__":
    with pools.of(2) as pool:
        print(*{pool.submit(os.getpid).result() for _ in range(8)}, flush=True)
        pool.submit(time.sleep, 600)
        time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_what_began_them(tmp_path: Path, number: signal.Signals) -> None:
    file = tmp_path / "ask.py"
    file.write_text(_ASK)
    root = Path(__file__).resolve().parents[2]
    line = [sys.executable, str(file)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(root)}) as asked:
        assert asked.stdout is not None
        workers = [int(worker) for worker in asked.stdout.readline().split()]
        asked.send_signal(number)
    assert workers and asked.returncode == -number
    until = time.monotonic() + 60
    while (left := [worker for worker in workers if _lives(worker)]) and time.monotonic() < until:
        time.sleep(0.1)
    for worker in left:
        os.kill(worker, signal.SIGKILL)
    assert not left


def _lives(process: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_process_for_each_task() -> None:
    with pools.of(1, per_task=True) as pool:
        assert len({pool.submit(os.getpid).result() for _ in range(2)}) == 2
