"""Tuning by a worker of another Prefect work pool: handed over by MLflow, asked for and waited for by Prefect."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from holdfast.errors import BadInput, Fenced, HoldfastError
from holdfast.registry import handover

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

    from holdfast.home import Home
    from holdfast.records import Tuned
    from holdfast.spec import Run

ENTRYPOINT = "flows.tune.tune"  # a module, found wherever a worker has Holdfast installed
_EVERY = 1.0  # seconds between looks at the flow run


def check(run: Run, home: Home) -> None:
    """Raise `BadInput` where `run` names a pool and there are no servers, or no such pool; better soon than late."""
    from prefect.client.orchestration import get_client

    if run.workers == "here":
        return
    _check_servers(home)
    with get_client(sync_client=True) as client:
        _check_pool(client, run.workers)


def tuned(given: handover.Job, run: Run, home: Home) -> Tuned:
    """Have a worker of the pool `run.workers` do a tuning, and return what it tuned, in this home's store.

    One that another process asked for and did not live to take back is waited for, not asked for again. Raises
    `BadInput` where there are no servers or there is no such pool, `HoldfastError` where no worker begins in time or
    the worker fails, `Corrupt` where anything arrives that is not what its digest says.
    """
    from prefect.client.orchestration import get_client

    _check_servers(home)
    job = handover.job(given, home)
    with get_client(sync_client=True) as client:
        deployment = _deployment(client, run.workers)
        address, asked = _asked(client, deployment, job, home)
        try:
            digest = _awaited(client, asked, run)
            home.check_fence()
            found = handover.fetch(handover.Address(run_id=address.run_id, digest=digest), home)
        except Fenced:  # whoever took over goes on with the same hand-over, or has ended it
            raise
        except HoldfastError:
            handover.close(address.run_id, home, "FAILED")
            raise
    handover.close(address.run_id, home)
    return found


def _check_servers(home: Home) -> None:
    found = {"PREFECT_API_URL": os.environ.get("PREFECT_API_URL", ""), "MLFLOW_TRACKING_URI": home.tracking_uri}
    for name, address in found.items():
        if not address.startswith("http"):
            raise BadInput(
                f"a worker elsewhere is reached by servers only, and {name} names none",
                key="run.workers",
                expected="here, or addresses of a Prefect server and an MLflow server",
            )


def _deployment(client: SyncPrefectClient, pool: str) -> UUID:
    """Return the deployment of the flow `tune` to a pool, made or brought up to date."""
    _check_pool(client, pool)
    flow = client.create_flow_from_name("tune")
    made: UUID = client.create_deployment(flow, pool, work_pool_name=pool, entrypoint=ENTRYPOINT, pull_steps=[])
    return made


def _check_pool(client: SyncPrefectClient, pool: str) -> None:
    from prefect.exceptions import ObjectNotFound

    try:
        client.read_work_pool(pool)
    except ObjectNotFound:
        known = ", ".join(sorted(found.name for found in client.read_work_pools())) or "none yet"
        raise BadInput(
            f"the Prefect server has no work pool `{pool}` (it has: {known})",
            key="run.workers",
            remedy=f"`prefect work-pool create {pool} --type process` makes one.",
        ) from None


def _asked(client: SyncPrefectClient, deployment: UUID, job: handover.Job, home: Home) -> tuple[handover.Address, UUID]:
    """Hand a job over and ask for it; return where it lies, and the flow run."""
    while True:
        address = handover.hand(job, home)
        flow_run = client.create_flow_run_from_deployment(
            deployment, parameters=address.model_dump(), idempotency_key=address.run_id
        )
        state = flow_run.state
        if state is None or not state.is_final() or state.is_completed():
            return address, flow_run.id
        handover.close(address.run_id, home, "FAILED")  # asked for by a process that did not see it fail


def _awaited(client: SyncPrefectClient, asked: UUID, run: Run) -> str:
    """Return the message of the flow run's completed state, once it has one."""
    patience = time.monotonic() + 60 * run.begin_within
    while True:
        flow_run = client.read_flow_run(asked)
        state = flow_run.state
        if state is not None and state.is_completed():
            return state.message or ""
        if state is not None and state.is_final():
            what = f"{state.name.lower()}: {(state.message or 'no reason given').strip()}"
            raise HoldfastError(f"the tuning by the work pool `{run.workers}` ({flow_run.name}) {what}")
        if flow_run.start_time is None and time.monotonic() > patience:
            _withdraw(client, flow_run, run)
        time.sleep(_EVERY)


def _withdraw(client: SyncPrefectClient, flow_run: FlowRun, run: Run) -> None:
    from prefect.states import Cancelled

    client.set_flow_run_state(flow_run.id, Cancelled(message="no worker began in time"), force=True)
    raise HoldfastError(
        f"no worker of the work pool `{run.workers}` began the tuning within {run.begin_within:g} minutes: start one "
        f"with `prefect worker start --pool {run.workers}`, or tune here with --set run.workers=here"
    )
