"""What `up` started is told apart from everything else, whatever number it has."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace

import httpx
import pytest
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

from flows import services as running
from flows import standing
from flows.cli import common, up
from holdfast import services
from holdfast.errors import BadInput, Conflict
from holdfast.home import Home
from holdfast.services import Up

_SLEEP = "import time; print('ready', flush=True); time.sleep(600)"
_DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {_SLEEP}"


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen]]:
    processes: list[subprocess.Popen] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def begin(started: list, code: str = _SLEEP, **given: str) -> int:
    line = [sys.executable, "-c", code]
    process = subprocess.Popen(line, env={**os.environ, **given}, stdout=subprocess.PIPE)
    started.append(process)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    return process.pid


def test_only_what_bears_the_token_is_found_and_stopped(started: list) -> None:
    up, other = Up(), Up()
    ours, theirs, nobody = (
        begin(started, **{services.TOKEN: up.token}),
        begin(started, **{services.TOKEN: other.token}),
        begin(started),
    )
    assert list(services.found(up)) == [ours]
    up.processes = {"worker": ours, "prefect": nobody}
    assert services.runs(up, "worker") and not services.runs(up, "prefect") and not services.runs(up, "mlflow")
    services.stop(up, [ours, theirs, nobody], 20)
    assert [process.poll() is None for process in started] == [False, True, True]
    assert not services.runs(up, "worker") and services.found(up) == {}


def test_what_does_not_hear_sigterm_is_killed(started: list) -> None:
    up = Up()
    pid = begin(started, _DEAF, **{services.TOKEN: up.token})
    services.stop(up, [pid], 0.3)
    assert started[0].wait(20) == -9


def test_down_finds_what_a_crash_left_without_its_number(home: Home, started: list) -> None:
    up = Up()
    for role in ("worker", "worker", "mlflow"):
        begin(started, **{services.TOKEN: up.token, services.ROLE: role})
    assert running.stop(home, up) == 3 and running.stop(home, up) == 0


def test_what_a_worker_starts_while_it_is_stopped_is_stopped_too(
    home: Home, started: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    up = Up()
    marks = {services.TOKEN: up.token, services.ROLE: "worker"}
    up.processes["worker"] = begin(started, **marks)
    end, late = services.stop, iter([marks])

    def stop(*given: object) -> None:
        for own in late:
            begin(started, **own)
        end(*given)

    monkeypatch.setattr(services, "stop", stop)
    assert running.stop(home, up) == 2 and services.found(up) == {}
    assert all(process.poll() is not None for process in started)


def test_one_starts_or_stops_at_a_time(home: Home) -> None:
    with services.alone(home), pytest.raises(Conflict, match="another `holdfast up`"), services.alone(home):
        pass
    with services.alone(home):
        pass


def test_what_is_written_is_read_and_a_dead_server_has_no_address(home: Home) -> None:
    assert services.read(home) is None and services.address(home) is None
    up = Up(addresses={"prefect": "http://127.0.0.1:9"}, processes={"prefect": os.getpid()}, files=["a.yaml"])
    services.write(home, up)
    assert services.read(home) == up and services.address(home) is None  # this process does not bear the token


def test_a_port_is_kept_while_it_is_free() -> None:
    port = services.free_port(None)
    assert services.free_port(f"http://127.0.0.1:{port}") == port
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert services.free_port(f"http://127.0.0.1:{port}") != port


def test_services_get_the_home_s_settings_and_none_of_the_user_s(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_PROFILE", "mine")
    monkeypatch.setenv("PREFECT_SERVER_API_HOST", "0.0.0.0")
    monkeypatch.setenv("MLFLOW_HOST", "0.0.0.0")
    up = Up(addresses={"prefect": "http://127.0.0.1:4321", "mlflow": "http://127.0.0.1:5432"})
    prefect, mlflow = running.variables(home, up, "prefect"), running.variables(home, up, "mlflow")
    assert "PREFECT_PROFILE" not in prefect and prefect["PREFECT_SERVER_API_HOST"] == "127.0.0.1"
    assert prefect["PREFECT_SERVER_CSRF_PROTECTION_ENABLED"] == "true"
    assert prefect["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false" and prefect["DO_NOT_TRACK"] == "1"
    assert str(home.path) in prefect["PREFECT_HOME"] and str(home.path) in prefect["PREFECT_PROFILES_PATH"]
    assert mlflow["MLFLOW_HOST"] == "127.0.0.1" and mlflow["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert mlflow["MLFLOW_SERVER_ALLOWED_HOSTS"] == "127.0.0.1:5432,localhost:5432"


def test_a_server_of_one_s_own_is_not_pushed_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    with pytest.raises(BadInput, match=r"PREFECT_API_URL.*starts one of its own"):
        running.refuse_other_server()


def test_a_named_server_comes_first_then_that_of_up_then_none(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://mine/api")
    monkeypatch.setattr(services, "address", lambda home: "http://127.0.0.1:4321")
    common.use_server(home)
    assert os.environ["PREFECT_API_URL"] == "http://mine/api"
    monkeypatch.delenv("PREFECT_API_URL")
    common.use_server(home)
    assert os.environ["PREFECT_API_URL"] == "http://127.0.0.1:4321/api"
    monkeypatch.delenv("PREFECT_API_URL")
    monkeypatch.setattr(services, "address", lambda home: None)
    common.use_server(home)
    assert "PREFECT_API_URL" not in os.environ


def test_a_server_that_answers_with_an_error_is_told_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails() -> None:
        raise httpx.HTTPStatusError("Server error '500'\nmore", request=httpx.Request("GET", "/"), response=None)

    monkeypatch.setattr(standing, "_overview", fails)
    told = asyncio.run(standing.overview())
    assert list(told) == ["trouble"] and "Server error '500'" in told["trouble"] and "more" not in told["trouble"]


def test_schedules_of_any_kind_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    often, nightly = IntervalSchedule(interval=timedelta(seconds=90)), CronSchedule(cron="17 3 * * *")
    kinds = [often, nightly, RRuleSchedule(rrule="FREQ=DAILY")]
    schedules = [SimpleNamespace(schedule=kind, active=kind is kinds[0]) for kind in kinds]
    told = standing._deployment(SimpleNamespace(flow_id=1, name="toy", schedules=schedules), {1: "monitor"})
    active = {"active": False}
    wanted = [{"every": 90.0, "active": True}, {"cron": "17 3 * * *", **active}, {"rrule": "FREQ=DAILY", **active}]
    assert told == {"name": "monitor/toy", "schedules": wanted}
    up._show_status({"deployments": [told]}, ())
    said = "deployment monitor/toy: every 90 s; cron 17 3 * * *, paused; rrule FREQ=DAILY, paused\n"
    assert capsys.readouterr().out == said
