"""Prefect's temporary server: begun only where something will ask for it, and known to nobody but its process."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows import bare, server
from flows.light import Light
from holdfast import home as homes
from holdfast import services
from holdfast.errors import HoldfastError

_RUN = """
import json, os, subprocess, sys
from pathlib import Path
from flows import server
from flows.cli import common
from holdfast import services

home = common.enter(Path(sys.argv[1]))
taken, free = json.loads(sys.argv[2]), services.free_port
services.free_port = lambda wanted: taken.pop() if taken else free(wanted)
server.ready(home)
server.ready(home)
from prefect import flow
from prefect.settings import get_current_settings

@flow
def asked():
    return get_current_settings().api.url

processes = [watcher.args[-1] for watcher in server._watchers]
print(json.dumps({"address": asked(), "begun": processes, "told": os.environ.get("PREFECT_API_URL"),
                  "imported": sorted(name for name in sys.modules if name.startswith("prefect.server"))}))
"""


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_watchers", [])  # another test may have begun one in this process
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


def test_nothing_is_begun_where_flows_run_bare_or_another_server_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begun(*given: Any, **more: Any) -> None:
        raise AssertionError("a process was started")

    home = homes.make(tmp_path / "home")
    monkeypatch.setattr(subprocess, "Popen", begun)
    with bare.without_prefect(Light):
        server.ready(home)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    server.ready(home)
    assert not (home.path / "prefect").exists()
    monkeypatch.delenv("PREFECT_API_URL")
    with pytest.raises(AssertionError, match="a process was started"):
        server.ready(home)


def test_a_server_that_ends_at_once_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []

    def ended(port: int) -> subprocess.Popen:
        begun.append(port)
        return subprocess.Popen([sys.executable, "-c", ""])

    monkeypatch.setattr(server, "_begin", ended)
    monkeypatch.setattr(server, "_NEEDED", ())
    with pytest.raises(HoldfastError, match="temporary server did not start"):
        server.ready(homes.make(tmp_path / "home"))
    assert len(begun) == 3


def test_a_server_that_does_not_answer_in_time_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []
    monkeypatch.setattr(server, "_begin", lambda port: begun.append(port) or SimpleNamespace(poll=lambda: None))
    monkeypatch.setattr(server, "_answers", lambda *given: False)
    with pytest.raises(HoldfastError, match="temporary server did not start"):
        server.ready(homes.make(tmp_path / "home"))
    assert len(begun) == 1


@pytest.mark.slow
def test_a_run_uses_it_without_importing_it_and_tells_nobody(tmp_path: Path) -> None:
    with services.socket.socket() as other:  # has the port that was found free
        other.bind(("127.0.0.1", 0))
        other.listen()
        line = [sys.executable, "-c", _RUN, str(tmp_path / "home"), json.dumps([other.getsockname()[1]])]
        done = subprocess.run(line, capture_output=True, text=True, timeout=300)
    found = json.loads(done.stdout)
    assert (found["imported"], found["told"]) == ([], None)
    assert found["address"].startswith("http://127.0.0.1:") and len(found["begun"]) == 2
    assert not any(Path("/proc", pid).exists() for pid in found["begun"]), "a server outlives the run"
