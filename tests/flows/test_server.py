"""Prefect's temporary server is begun only where something will ask for it."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from flows import bare, server
from flows.light import Light
from holdfast import home as homes


def test_nothing_is_begun_where_flows_run_bare_or_another_server_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begun(*given: Any, **more: Any) -> None:
        raise AssertionError("a process was started")

    home = homes.make(tmp_path / "home")
    monkeypatch.setattr(subprocess, "Popen", begun)
    monkeypatch.setattr(server, "_watchers", [])  # another test may have begun one in this process
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with bare.without_prefect(Light):
        server.ready(home)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    server.ready(home)
    assert not (home.path / "prefect").exists()
    monkeypatch.delenv("PREFECT_API_URL")
    with pytest.raises(AssertionError, match="a process was started"):
        server.ready(home)
