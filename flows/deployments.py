"""What a server knows of our pipelines: a pool, three deployments for each, the automations, and runs that died.

`adapt/NAME` runs the file, `monitor/NAME` watches on a schedule, `adapt-drift/NAME` is started by an automation on an
alarm. What is as it should be is left alone, so that a schedule which somebody paused stays paused.
"""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from prefect import Flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.utilities.callables import parameter_schema

from flows import alarm
from flows.services import POOL
from holdfast import digests
from holdfast.home import Home
from holdfast.registry import ledger

if TYPE_CHECKING:
    from holdfast.spec import Pipeline

_INFRA = Path(__file__).resolve().parents[1] / "infra"
_AT_ONCE = 2  # runs at a time in the pool: a round of watching need not wait for an adaptation to end
_DECISION = {"__prefect_kind": "jinja", "template": "{{ event.payload.decision }}"}


async def register(pipelines: dict[Path, "Pipeline"], every: float, home: Home) -> None:
    """Make the pool, and the deployments and automations of pipelines by their files."""
    async with get_client() as client:
        await _pool(client)
        known = {automation.name: automation for automation in await client.read_automations()}
        crashed = yaml.safe_load((_INFRA / "automations" / "crashed.yaml").read_text(encoding="utf-8"))
        await _automation(client, AutomationCore.model_validate(crashed), known)
        for file, pipeline in pipelines.items():
            given = {"file": str(file), "overrides": [], "home": str(home.path)}
            await _deployment(client, "adapt", pipeline.name, given)
            if pipeline.task != "classification":
                continue
            schedule = _schedule(pipeline, every, home)
            await _deployment(client, "monitor", pipeline.name, {**given, "data": None, "manual": None}, schedule)
            started = await _deployment(client, "adapt_drift", pipeline.name, given)
            await _automation(client, _on_alarm(pipeline, started), known)


async def _pool(client: PrefectClient) -> None:
    template = json.loads((_INFRA / "work-pools" / "process.json").read_text(encoding="utf-8"))
    template["variables"]["properties"]["env"]["default"] = {}  # the worker's own environment is the run's
    wanted = WorkPoolCreate(name=POOL, type="process", base_job_template=template, concurrency_limit=_AT_ONCE)
    try:
        await client.read_work_pool(POOL)
    except ObjectNotFound:
        await client.create_work_pool(wanted)


def _schedule(pipeline: "Pipeline", every: float, home: Home) -> dict[str, Any]:
    """Return when to watch; paused as long as there is no champion to watch."""
    return {"every": every, "active": ledger.at(home).champion(pipeline.registered_name) is not None}


def _flow(name: str) -> Flow:
    from flows.adapt import adapt
    from flows.adapt_drift import adapt_drift
    from flows.monitor import monitor

    return {"adapt": adapt, "monitor": monitor, "adapt_drift": adapt_drift}[name]


async def _deployment(
    client: PrefectClient, module: str, name: str, given: dict[str, Any], schedule: dict[str, Any] | None = None
) -> Any:
    """Register a deployment of the flow `flows.MODULE.MODULE` unless it is there as wanted; return its id."""
    flow = _flow(module)
    version = digests.of_json([module, given, schedule, _AT_ONCE])[:16]
    try:
        found = await client.read_deployment_by_name(f"{flow.name}/{name}")
        if found.version == version:
            return found.id
    except ObjectNotFound:
        pass
    return await client.create_deployment(
        flow_id=await client.create_flow_from_name(flow.name),
        name=name,
        version=version,
        entrypoint=f"flows.{module}.{module}",
        parameters=given,
        schedules=[_interval(**schedule)] if schedule else [],
        concurrency_limit=1,
        concurrency_options=ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        work_pool_name=POOL,
        parameter_openapi_schema=parameter_schema(flow).model_dump_for_openapi(),
        enforce_parameter_schema=True,
    )


def _interval(every: float, active: bool) -> DeploymentScheduleCreate:
    soon = datetime.now(UTC) + timedelta(seconds=min(every, 10))
    schedule = IntervalSchedule(interval=timedelta(seconds=every), anchor_date=soon)
    return DeploymentScheduleCreate(schedule=schedule, active=active)


async def _automation(client: PrefectClient, wanted: AutomationCore, known: dict[str, Any]) -> None:
    found = known.get(wanted.name)
    if found is None:
        await client.create_automation(wanted)
    elif (found.trigger, found.actions) != (wanted.trigger, wanted.actions):
        await client.update_automation(found.id, wanted)


def _on_alarm(pipeline: "Pipeline", deployment: Any) -> AutomationCore:
    """Return the automation on an alarm about a pipeline's model: the decision's key is all that it hands on."""
    return AutomationCore.model_validate(
        {
            "name": f"holdfast-drift-{pipeline.name}",
            "description": "Adapts a model again where a decision in the book says so.",
            "trigger": {
                "type": "event",
                "posture": "Reactive",
                "expect": [alarm.EVENT],
                "match": alarm.resource(pipeline),
            },
            "actions": [
                {
                    "type": "run-deployment",
                    "source": "selected",
                    "deployment_id": str(deployment),
                    "parameters": {"decision": _DECISION},
                }
            ],
        }
    )


async def bury(living: Iterable[str], gone: bool) -> list[str]:
    """Mark Crashed the runs of our deployments whose processes are dead; return their names.

    `living` are the ids of the runs that have a process; `gone` says that no worker is left that could be starting one.
    """
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.states import Crashed

    states, alive, buried = ["RUNNING", "CANCELLING", *(["PENDING"] if gone else [])], set(living), []
    async with get_client() as client:
        found = await client.read_flow_runs(flow_run_filter=FlowRunFilter(state={"type": {"any_": states}}))
        for run in found:
            top = run
            while top.parent_task_run_id is not None:
                above = await client.read_task_run(top.parent_task_run_id)
                top = await client.read_flow_run(above.flow_run_id)
            if top.deployment_id is not None and str(top.id) not in alive:
                state = Crashed(message="its process died with the worker or the machine")
                await client.set_flow_run_state(run.id, state, force=True)
                buried.append(run.name)
    return buried
