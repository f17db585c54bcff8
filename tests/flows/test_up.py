"""A home's servers: the loop closes by itself, a hint that is wrong starts nothing, and no kill loses anything.

The tests are one story and build on each other; `up` is called once for all of them, and again after the kills.
"""

import subprocess
import sys
import time
import urllib.error
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from benchmarks.loop.live import ROOT, Live
from holdfast import services
from tests.flows.conftest import sentences, write_rows
from tests.flows.test_monitor import window

pytestmark = [pytest.mark.service, pytest.mark.slow]


def make(folder: Path, base: Path) -> Live:
    """Make a project with a production folder, and a user whose Prefect profile names another server."""
    write_rows(folder / "train.csv", sentences(range(0, 40)))
    write_rows(folder / "valid.csv", sentences(range(40, 50)))
    write_rows(folder / "test.csv", sentences(range(50, 90)))
    (folder / "production").mkdir()
    watch = {"source": "production/", "window": {"rows": 120}, "checks": {"estimate": False}}
    spec = {
        "name": "toy",
        "start": {"model": str(base)},
        "learn": {"train": "train.csv", "valid": "valid.csv", "test": "test.csv"},
        "assess": {"examples": 16},
        "training": {"epochs": 8, "learning_rate": 3e-3, "precision": "fp32"},
        "gate": {"champion_margin": 0.2},
        "monitor": {**watch, "retrain": {"labelled": 60, "cooldown": "1d", "margin": 0.2}},
    }
    (folder / "toy.yaml").write_text(yaml.safe_dump(spec))
    live = Live(folder / "toy.yaml", "toy", "45s")
    profiles = live.user / ".prefect" / "profiles.toml"
    profiles.parent.mkdir()
    profiles.write_text('active = "wrong"\n[profiles.wrong]\nPREFECT_API_URL = "http://127.0.0.1:9/api"\n')
    return live


def hint(world: Live, payload: Any, resource: str = "holdfast.model.toy", pipeline: str = "toy") -> None:
    """Send an alarm that nobody raised."""
    labels = {"prefect.resource.id": resource, "holdfast.pipeline": pipeline}
    event = {"event": "holdfast.drift.alarm", "resource": labels, "payload": payload, "id": str(uuid.uuid4())}
    occurred = {"occurred": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    world.ask("/api/events", [{**event, **occurred}], headers=world.csrf())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Iterator[Live]:
    made = make(tmp_path_factory.mktemp("up"), tiny_base)
    try:
        yield made
    finally:
        made.call("down", code=None)


def test_up_starts_what_a_home_needs_on_loopback_only(world: Live) -> None:
    found = world.up()
    assert found["started"] == ["prefect", "mlflow", "worker"] and found["pipelines"] == {"toy": str(world.file)}
    told = world.call("status")
    assert told["up"] and told["workers"][0]["status"] == "ONLINE"
    assert [one["name"] for one in told["deployments"]] == ["adapt-drift/toy", "adapt/toy", "monitor/toy"]
    assert told["deployments"][2]["schedules"] == [{"every": 45, "active": False}]  # there is no champion yet
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


def test_a_run_that_died_with_its_worker_is_marked_by_the_server_alone(world: Live) -> None:
    hurry(world, within=40)
    deployment = world.ask("/api/deployments/name/adapt/toy")["id"]
    given = {"parameters": {"overrides": ["training.epochs=500", "register.name=never"]}}
    begun = world.ask(f"/api/deployments/{deployment}/create_flow_run", given, headers=world.csrf())["id"]
    heard = {"filter": {"event": {"name": ["prefect.flow-run.heartbeat"]}}}
    world.until(lambda: world.ask("/api/events/filter", heard, headers=world.csrf())["events"], "a heartbeat")
    world.kill([world.state().processes["worker"], *world.alive(run=True)])
    run = world.until(lambda: [r for r in world.runs("adapt") if r["state_type"] == "CRASHED"], "the mark")[0]
    assert run["id"] == begun and "no heartbeat" in run["state"]["message"]
    found = world.up()  # the automation is as shipped again
    assert found["started"] == ["worker"] and found["crashed"] == []
    assert crashed(world)["trigger"]["within"] == 180 and not world.stuck()


def crashed(world: Live) -> dict[str, Any]:
    """Return the automation that marks runs."""
    known = world.ask("/api/automations/filter", {}, headers=world.csrf())
    return next(one for one in known if one["name"] == "holdfast-crashed")


def hurry(world: Live, within: float) -> None:
    """Have runs marked sooner, so that the test need not wait three minutes."""
    shipped = crashed(world)
    kept = {key: shipped[key] for key in ("name", "description", "enabled", "actions")}
    hurried = {**kept, "trigger": {**shipped["trigger"], "within": within}}
    world.ask(f"/api/automations/{shipped['id']}", hurried, headers=world.csrf(), method="PUT")


def test_drifted_rows_become_a_new_champion_without_a_hand(world: Live) -> None:
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


def test_hints_that_are_repeated_forged_or_malformed_start_nothing(world: Live) -> None:
    retrain = next(d for d in world.past().decisions if d.outcome == "retrain")
    (world.folder / "production" / "again.csv").write_bytes((world.folder / "production" / "second.csv").read_bytes())
    hint(world, {"decision": retrain.key}, resource="holdfast.model.other")
    for count, payload in enumerate([{"decision": retrain.key}, {"decision": "0" * 64}, {"nothing": [1]}], 2):
        world.until(lambda: free(world, "adapt-drift/toy"), "a slot for the next run")  # else it would be cancelled
        hint(world, payload)
        done = world.until(lambda n=count: world.ended("adapt-drift", n), f"the end of the run for {payload}")
        assert [run["state_name"] for run in done[1:]] == ["NotStarted"] * (count - 1), done
    said = [run["state"]["message"] for run in done[1:]]
    assert "was used up" in said[0] and "there is no decision" in said[1] and "not the key" in said[2]
    rounds = len(world.past().decisions)
    world.until(lambda: len(world.past().decisions) > rounds, "one more round")
    assert world.events() == ["begin", "end"] and world.champion() == "2"
    assert world.outcomes().count("retrain") == 1


def free(world: Live, name: str) -> bool:
    """Say whether a deployment's slot was given back, which is a moment after its run has ended."""
    own = world.ask(f"/api/deployments/name/{name}")["id"]
    limits = world.ask("/api/v2/concurrency_limits/filter", {}, headers=world.csrf())
    (limit,) = [limit for limit in limits if own in limit["name"]]
    return not limit["active_slots"]


def test_no_kill_loses_anything(world: Live) -> None:
    window(world.folder / "production", "third", range(120, 180), foreign=True)
    world.call("monitor", str(world.file), "--why", "once more", code=4)
    world.until(lambda: world.events()[2:] == ["begin"], "an adaptation that began")
    world.kill(services.found(world.state()))  # as if the machine had died
    world.until(lambda: not services.found(world.state()), "the end of everything")
    assert not world.call("status", code=1)["up"]
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


def test_prefect_yaml_deploys_the_same_for_every_pipeline(world: Live) -> None:
    line = [str(Path(sys.executable).with_name("prefect")), "--no-prompt", "deploy", "--all"]
    given = {"PREFECT_API_URL": f"{world.state().addresses['prefect']}/api", "HOLDFAST_HOME": str(world.home.path)}
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, env={**world.environment, **given})
    assert done.returncode == 0, done.stdout + done.stderr
    found = {one["name"]: one["schedules"] for one in world.call("status")["deployments"]}
    files = sorted(yaml.safe_load(file.read_text())["name"] for file in (ROOT / "pipelines").glob("*.yaml"))
    assert sorted(name for name in found if name.startswith("adapt/")) == sorted(f"adapt/{n}" for n in [*files, "toy"])
    assert found["monitor/demo"] and not any(one["active"] for one in found["monitor/demo"])
    # Its automation hands a decision on to its deployment, which a worker finds: here one that the book does not know.
    hint(world, {"decision": "0" * 64}, resource="holdfast.model.demo", pipeline="demo")
    mine = world.until(
        lambda: [r for r in world.runs("adapt-drift") if r["parameters"]["file"] == "pipelines/demo.yaml"], "its run"
    )
    world.until(lambda: world.ended("adapt-drift", 1), "its end")
    run = next(one for one in world.runs("adapt-drift") if one["id"] == mine[0]["id"])
    assert run["state_name"] == "NotStarted" and "there is no decision" in run["state"]["message"]


def test_down_leaves_nothing_and_touches_nobody_else(world: Live) -> None:
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
