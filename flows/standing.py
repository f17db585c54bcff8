"""What a server says: when the worker was last seen, the deployments with their schedules, the runs under way."""

import asyncio
import time
from typing import Any

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import Worker

from flows.services import POOL
from holdfast.errors import HoldfastError

_PATIENCE = 180.0  # seconds until a worker that does not report is given up


async def wait_for_worker(since: float) -> None:
    """Wait until a worker of the pool has reported after `since`, in seconds since 1970."""
    until = time.monotonic() + _PATIENCE
    async with get_client() as client:
        while not any(w.last_heartbeat_time.timestamp() >= since for w in await _workers(client)):
            if time.monotonic() > until:
                raise HoldfastError("the worker does not report to the server; its log is up/worker.log in the home")
            await asyncio.sleep(0.5)


async def overview() -> dict[str, Any]:
    """Return workers, deployments and runs that have not ended, as JSON-able values.

    Where the server answers with an error, or not in time, `trouble` says so instead.
    """
    try:
        return await _overview()
    except httpx.HTTPError as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        return {"trouble": f"the Prefect server does not answer as it should ({said}); its log is up/prefect.log"}


async def _overview() -> dict[str, Any]:
    wanted = FlowRunFilter.model_validate({"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}})
    async with get_client() as client:
        workers = [_worker(worker) for worker in await _workers(client)]
        flows = {flow.id: flow.name for flow in await client.read_flows()}
        deployments = [_deployment(one, flows) for one in await client.read_deployments()]
        runs = await client.read_flow_runs(flow_run_filter=wanted)
    return {
        "workers": workers,
        "deployments": sorted(deployments, key=lambda one: str(one["name"])),
        "runs": [
            {"name": r.name, "state": r.state_name, "since": _moment(r.start_time), "id": str(r.id)} for r in runs
        ],
    }


async def _workers(client: PrefectClient) -> list[Worker]:
    found = await client.read_workers_for_work_pool(POOL)
    return [worker for worker in found if worker.last_heartbeat_time is not None]


def _worker(worker: Worker) -> dict[str, Any]:
    return {"name": worker.name, "status": worker.status.value, "last_seen": _moment(worker.last_heartbeat_time)}


def _deployment(one: Any, flows: dict[Any, str]) -> dict[str, Any]:
    schedules = [{**_rhythm(schedule.schedule), "active": schedule.active} for schedule in one.schedules]
    return {"name": f"{flows[one.flow_id]}/{one.name}", "schedules": schedules}


def _rhythm(schedule: Any) -> dict[str, Any]:
    """Return `every`, in seconds, or the text of a `cron` or an `rrule` that somebody else gave a deployment."""
    if hasattr(schedule, "interval"):
        return {"every": schedule.interval.total_seconds()}
    kind = "cron" if hasattr(schedule, "cron") else "rrule"
    return {kind: getattr(schedule, kind)}


def _moment(value: Any) -> str | None:
    return None if value is None else value.isoformat(timespec="seconds")
