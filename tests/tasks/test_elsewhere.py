"""Asking for a tuning elsewhere: servers and pool must be there, a worker must begin, and a failure is told."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect.client import orchestration
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Completed, Crashed, Running, Scheduled

from holdfast.errors import BadInput, Fenced, HoldfastError
from holdfast.home import Home
from holdfast.registry import handover
from holdfast.spec import Run
from tasks import elsewhere

GPU = Run(workers="gpu", begin_within=1e-4)


class Server:
    """Prefect's client: flow runs go through the states given, one at a time."""

    def __init__(self, *states: Any, pools: tuple[str, ...] = ("gpu",)) -> None:
        self.states, self.pools, self.asked, self.set = list(states), pools, [], []

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None: ...

    def read_work_pool(self, name: str) -> None:
        if name not in self.pools:
            raise ObjectNotFound(http_exc=Exception())

    def read_work_pools(self) -> list[Any]:
        return [SimpleNamespace(name=name) for name in self.pools]

    def create_flow_from_name(self, name: str) -> Any:
        return uuid4()

    def create_deployment(self, flow: Any, name: str, **given: Any) -> Any:
        assert given["work_pool_name"] == name and given["entrypoint"] == elsewhere.ENTRYPOINT
        return uuid4()

    def create_flow_run_from_deployment(self, deployment: Any, parameters: dict, idempotency_key: str) -> Any:
        self.asked.append(idempotency_key)
        return self._run(self.states[0] if len(self.states) == 1 else self.states.pop(0))

    def read_flow_run(self, asked: Any) -> Any:
        return self._run(self.states[0] if len(self.states) == 1 else self.states.pop(0))

    def _run(self, state: Any) -> Any:
        begun = None if state.is_scheduled() else 1
        return SimpleNamespace(id=uuid4(), name="tune x", state=state, start_time=begun)

    def set_flow_run_state(self, asked: Any, state: Any, force: bool) -> None:
        self.set.append(state)


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What was handed over, fetched and closed, without an MLflow."""
    log = SimpleNamespace(handed=0, fetched=[], closed=[])

    def hand(job: Any, home: Home) -> handover.Address:
        log.handed += 1
        return handover.Address(run_id=f"run{log.handed}", digest="d")

    monkeypatch.setattr(handover, "job", lambda given, home: given)
    monkeypatch.setattr(handover, "hand", hand)
    monkeypatch.setattr(handover, "fetch", lambda address, home: log.fetched.append(address) or "tuned")
    monkeypatch.setattr(handover, "close", lambda run_id, home, status="FINISHED": log.closed.append((run_id, status)))
    monkeypatch.setattr(elsewhere, "_EVERY", 0.01)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:2")
    return log


def ask(monkeypatch: pytest.MonkeyPatch, server: Server, home: Home, run: Run = GPU) -> Any:
    monkeypatch.setattr(orchestration, "get_client", lambda sync_client: server)
    return elsewhere.tuned("job", run, home)


def test_what_a_worker_tuned_is_fetched_by_the_digest_that_it_told(monkeypatch, handed, home) -> None:
    server = Server(Scheduled(), Running(), Running(), Completed(message="f" * 64))
    assert ask(monkeypatch, server, home) == "tuned"
    assert handed.fetched == [handover.Address(run_id="run1", digest="f" * 64)]
    assert handed.closed == [("run1", "FINISHED")] and server.asked == ["run1"]


def test_no_worker_in_time_withdraws_the_run_and_says_so(monkeypatch, handed, home) -> None:
    server = Server(Scheduled())
    with pytest.raises(HoldfastError, match=r"no worker of the work pool `gpu`.*prefect worker start --pool gpu"):
        ask(monkeypatch, server, home)
    assert [state.type for state in server.set] == [Cancelled().type]
    assert handed.closed == [("run1", "FAILED")] and not handed.fetched


def test_a_worker_that_crashes_fails_the_run_with_its_words(monkeypatch, handed, home) -> None:
    server = Server(Scheduled(), Running(), Crashed(message="out of memory"))
    with pytest.raises(HoldfastError, match="crashed: out of memory"):
        ask(monkeypatch, server, home, Run(workers="gpu"))
    assert handed.closed == [("run1", "FAILED")]


def test_who_was_overtaken_while_waiting_leaves_the_hand_over_to_the_other(monkeypatch, handed, home) -> None:
    class Overtaken:
        def check(self, within: Any = None) -> None:
            raise Fenced("another took over")

    server = Server(Scheduled(), Running(), Completed(message="f" * 64))
    with pytest.raises(Fenced):
        ask(monkeypatch, server, replace(home, fence=Overtaken()))
    assert handed.handed == 1 and not handed.fetched and not handed.closed


def test_one_that_failed_unseen_is_asked_for_again(monkeypatch, handed, home) -> None:
    server = Server(Crashed(), Scheduled(), Running(), Completed(message="e" * 64))
    assert ask(monkeypatch, server, home, Run(workers="gpu")) == "tuned"
    assert server.asked == ["run1", "run2"] and handed.closed == [("run1", "FAILED"), ("run2", "FINISHED")]


def test_a_pool_that_is_not_there_and_servers_that_are_not_named_are_bad_input(monkeypatch, handed, home) -> None:
    with pytest.raises(BadInput, match=r"run\.workers.*no work pool `gpu` \(it has: cpu\)"):
        ask(monkeypatch, Server(Scheduled(), pools=("cpu",)), home)
    with pytest.raises(BadInput, match="no work pool"):
        elsewhere.check(GPU, home)
    elsewhere.check(Run(), home)
    monkeypatch.delenv("PREFECT_API_URL")
    with pytest.raises(BadInput, match="PREFECT_API_URL"):
        ask(monkeypatch, Server(Scheduled()), home)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(BadInput, match="MLFLOW_TRACKING_URI"):
        ask(monkeypatch, Server(Scheduled()), home)
    assert handed.handed == 0
