"""A home's servers: the loop closes by itself, a hint that is wrong starts nothing, and no kill loses anything.

The tests are one story and build on each other; `up` is called once for all of them, and again after the kills.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from holdfast import services
from holdfast.decisions import book
from holdfast.home import Home
from tests.flows.conftest import ROOT, sentences, write_rows
from tests.flows.test_monitor import window

pytestmark = [pytest.mark.service, pytest.mark.slow]
PATIENCE = 600.0


class World:
    """A project with a production folder, a home, and a user whose Prefect profile names another server."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.folder, self.home = folder, Home(folder / "home")
        self.file = folder / "toy.yaml"
        write_rows(folder / "train.csv", sentences(range(0, 40)))
        write_rows(folder / "valid.csv", sentences(range(40, 50)))
        write_rows(folder / "test.csv", sentences(range(50, 90)))
        (folder / "production").mkdir()
        self.file.write_text(yaml.safe_dump(self._spec(base)))
        profiles = folder / "user" / ".prefect" / "profiles.toml"
        profiles.parent.mkdir(parents=True)
        profiles.write_text('active = "wrong"\n[profiles.wrong]\nPREFECT_API_URL = "http://127.0.0.1:9/api"\n')

    def _spec(self, base: Path) -> dict[str, Any]:
        watch = {"source": "production/", "window": {"rows": 120}, "checks": {"estimate": False}}
        retrain = {"labelled": 100, "cooldown": "1d", "margin": 0.2}
        return {
            "name": "toy",
            "start": {"model": str(base)},
            "learn": {"train": "train.csv", "valid": "valid.csv", "test": "test.csv"},
            "assess": {"examples": 16},
            "training": {"epochs": 8, "learning_rate": 3e-3, "precision": "fp32"},
            "gate": {"champion_margin": 0.2},
            "monitor": {**watch, "retrain": retrain},
        }

    def call(self, *args: str, code: int | None = 0) -> dict[str, Any]:
        """Call `holdfast ARGS` from a folder of nobody's and return its JSON object."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
        line = [str(Path(sys.executable).with_name("holdfast")), *args, "--home", str(self.home.path), "--json"]
        done = subprocess.run(
            line, cwd=self.folder / "user", capture_output=True, text=True, timeout=900,
            env={**kept, "PYTHONPATH": str(ROOT), "HOME": str(self.folder / "user"), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert code is None or done.returncode == code, done.stdout + done.stderr + self.logs()
        return dict(json.loads(done.stdout))

    def up(self) -> dict[str, Any]:
        return self.call("up", str(self.file), "--every", "15s")

    def logs(self) -> str:
        files = (self.home.path / "up").glob("*.log")
        return "".join(f"\n--- {file.name}\n{file.read_text(errors='replace')[-3000:]}" for file in files)

    def until(self, seen: Callable[[], Any], what: str) -> Any:
        """Wait until something is seen, and return it."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = seen()
            if found:
                return found
            time.sleep(0.5)
        raise AssertionError(f"never seen: {what}\n{self.past()}\n{self.logs()}")

    def past(self) -> Any:
        return book.at(self.home).past("toy")

    def events(self) -> list[str]:
        return [event.event for event in self.past().adaptations]

    def outcomes(self) -> list[str]:
        return [d.outcome for d in self.past().decisions if d.outcome not in ("nothing", "busy")]

    def state(self) -> services.Up:
        found = services.read(self.home)
        assert found is not None
        return found

    def ask(self, path: str, value: Any = None, role: str = "prefect", headers: dict[str, str] | None = None) -> Any:
        """Send a request to a server of the home and return the answer."""
        body = None if value is None else json.dumps(value).encode()
        request = urllib.request.Request(
            self.state().addresses[role] + path,
            data=body,
            headers={"Content-Type": "application/json", **(headers or {})},
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            said = reply.read()
        return json.loads(said) if said else None

    def csrf(self) -> dict[str, str]:
        client = str(uuid.uuid4())
        token = self.ask(f"/api/csrf-token?client={client}")["token"]
        return {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": client}

    def runs(self, flow: str) -> list[dict[str, Any]]:
        wanted = {"flows": {"name": {"any_": [flow]}}, "sort": "START_TIME_ASC"}
        return list(self.ask("/api/flow_runs/filter", wanted, headers=self.csrf()))

    def send(self, payload: Any, resource: str = "holdfast.model.toy") -> None:
        labels = {"prefect.resource.id": resource, "holdfast.pipeline": "toy"}
        event = {"event": "holdfast.drift.alarm", "resource": labels, "payload": payload, "id": str(uuid.uuid4())}
        occurred = {"occurred": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        self.ask("/api/events", [{**event, **occurred}], headers=self.csrf())

    def ended(self, flow: str, count: int) -> list[dict[str, Any]]:
        """Return the runs of a flow, once there are so many and all have ended."""
        found = self.runs(flow)
        over = [run for run in found if run["state_type"] in ("COMPLETED", "CANCELLED", "FAILED", "CRASHED")]
        return found if len(over) == len(found) >= count else []

    def stuck(self) -> list[str]:
        """Return the deployments that hold a slot though none of their runs is under way."""
        limits = self.ask("/api/v2/concurrency_limits/filter", {}, headers=self.csrf())
        running = self.call("status")["runs"]
        return [limit["name"] for limit in limits if limit["active_slots"] and not running]

    def champion(self) -> str:
        """Return the version that `models:/toy@champion` is, by the MLflow server."""
        path = "/api/2.0/mlflow/registered-models/alias?name=toy&alias=champion"
        return str(self.ask(path, role="mlflow")["model_version"]["version"])

    def kill(self, pids: list[int]) -> None:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("up"), tiny_base)
    try:
        yield made
    finally:
        made.call("down", code=None)


def test_up_starts_what_a_home_needs_on_loopback_only(world: World) -> None:
    found = world.up()
    assert found["started"] == ["prefect", "mlflow", "worker"] and found["pipelines"] == {"toy": str(world.file)}
    told = world.call("status")
    assert told["up"] and told["workers"][0]["status"] == "ONLINE"
    assert [one["name"] for one in told["deployments"]] == ["adapt-drift/toy", "adapt/toy", "monitor/toy"]
    assert told["deployments"][2]["schedules"] == [{"every": 15, "active": False}]  # there is no champion yet
    listening = {
        connection.laddr.ip
        for pid in services.found(world.state())
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}
    with pytest.raises(urllib.error.HTTPError) as refused:  # no CSRF token
        world.ask("/api/flow_runs/filter", {})
    assert refused.value.code == 403
    assert world.call("up")["started"] == []  # it says that it is up, and that it knows the file
    assert world.call("up")["pipelines"] == {"toy": str(world.file)}


def test_drifted_rows_become_a_new_champion_without_a_hand(world: World) -> None:
    made = world.call("run", str(world.file))
    assert made["verdict"] == "promoted" and world.champion() == "1"
    window(world.folder / "production", "first", range(60), foreign=True)
    window(world.folder / "production", "second", range(60, 120), foreign=True)
    world.until(lambda: "end" in world.events(), "an adaptation that ended")
    assert world.champion() == "2" and world.events() == ["begin", "end"]
    assert world.outcomes()[:2] == ["watch", "retrain"]
    run = world.until(lambda: [r for r in world.runs("adapt-drift") if r["state_name"] == "Completed"], "its run")[0]
    retrain = next(d for d in world.past().decisions if d.outcome == "retrain")
    assert run["parameters"]["decision"] == retrain.key and run["created_by"]["type"] == "AUTOMATION"


def test_hints_that_are_repeated_forged_or_malformed_start_nothing(world: World) -> None:
    retrain = next(d for d in world.past().decisions if d.outcome == "retrain")
    (world.folder / "production" / "again.csv").write_bytes((world.folder / "production" / "second.csv").read_bytes())
    world.send({"decision": retrain.key}, resource="holdfast.model.other")
    for count, payload in enumerate([{"decision": retrain.key}, {"decision": "0" * 64}, {"nothing": [1]}], 2):
        world.send(payload)
        done = world.until(lambda n=count: world.ended("adapt-drift", n), f"the end of the run for {payload}")
        assert [run["state_name"] for run in done[1:]] == ["NotStarted"] * (count - 1), done
    said = [run["state"]["message"] for run in done[1:]]
    assert "was used up" in said[0] and "there is no decision" in said[1] and "not the key" in said[2]
    rounds = len(world.past().decisions)
    world.until(lambda: len(world.past().decisions) > rounds, "one more round")
    assert world.events() == ["begin", "end"] and world.champion() == "2"
    assert world.outcomes().count("retrain") == 1


def test_no_kill_loses_anything(world: World) -> None:
    world.call("monitor", str(world.file), "--why", "once more", code=4)
    world.until(lambda: world.events()[2:] == ["begin"], "an adaptation that began")
    world.kill([pid for pid, given in services.found(world.state()).items() if given])  # as if the machine had died
    assert not services.found(world.state()) and not world.call("status", code=1)["up"]
    before = world.state().addresses
    found = world.up()
    assert found["started"] == ["prefect", "mlflow", "worker"] and len(found["crashed"]) >= 1
    assert world.state().addresses == before  # whoever lost them finds them again
    assert world.champion() == "2"
    world.until(lambda: world.events()[2:] == ["begin", "begin"], "the adaptation that goes on")
    world.kill(list(world.state().processes.values()))  # this time the run itself lives
    world.up()
    world.until(lambda: "end" in world.events()[2:], "the end of the adaptation")
    tokens = [event.token for event in world.past().adaptations]
    assert world.events()[-1] == "end" and tokens == sorted(tokens)
    assert world.outcomes().count("retrain") == 2
    ledger = world.call("versions", "toy")["versions"]
    assert world.champion() in {str(version["version"]) for version in ledger}
    world.until(lambda: not world.stuck(), "every slot given back")


def test_down_leaves_nothing_and_touches_nobody_else(world: World) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        state = world.state()
        assert world.call("reset", "--yes", code=2)["error"].endswith("`holdfast down` stops them.")
        assert world.call("down")["stopped"] >= 3 and not services.found(state)
        state.processes["worker"] = stranger.pid  # a number that means another process by now
        services.write(world.home, state)
        assert world.call("down")["stopped"] == 0 and stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
