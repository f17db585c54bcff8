"""What flows tell the server that `up` started: an alarm, and that there is a champion to watch.

An alarm is a Prefect event, a hint and nothing else. It names a decision, and whoever is started by it looks that up in
the book, so an event that is forged, malformed or repeated starts nothing, and one that got lost is sent again by the
next round.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from flows import bare
from holdfast import clock

if TYPE_CHECKING:
    from holdfast.decisions.records import Decision
    from holdfast.home import Home
    from holdfast.spec import Pipeline

EVENT = "holdfast.drift.alarm"


def resource(pipeline: Pipeline) -> dict[str, str]:
    """Return the labels of what an alarm is about: the registered model, and the pipeline that watches it."""
    return {"prefect.resource.id": f"holdfast.model.{pipeline.registered_name}", "holdfast.pipeline": pipeline.name}


async def send(pipeline: Pipeline, last: Decision, home: Home) -> Decision | None:
    """Send an alarm if a decision to retrain or to roll back waits for someone to do it; return that decision.

    `last` is the newest decision. Without a server that outlives this process there is nobody to send it to.
    """
    from holdfast.decisions import trial

    wanted = trial.wanted(last, clock.text(), home) if _server() else None
    if wanted is None:
        return None
    from prefect.client.orchestration import get_client
    from prefect.events.schemas.events import Event

    payload = {"decision": wanted.key, "episode": wanted.episode}
    event = Event(event=EVENT, resource=resource(pipeline), payload=payload)
    async with get_client() as client:  # not by `emit_event`: its answer says that the server has the event
        await client.request("POST", "/events", json=[event.model_dump(mode="json")])
    return wanted


async def wake(pipeline: Pipeline, home: Home) -> None:
    """Have the schedule of `monitor/NAME` begin with the first champion, where the server has such a deployment."""
    from holdfast.registry import ledger

    entry = ledger.at(home).champion(pipeline.registered_name) if _server() else None
    if entry is None or entry.generation > 1:
        return
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    async with get_client() as client:
        try:
            found = await client.read_deployment_by_name(f"monitor/{pipeline.name}")
        except ObjectNotFound:
            return
        for schedule in found.schedules:
            await client.update_deployment_schedule(found.id, schedule.id, active=True)


def _server() -> bool:
    return bool(os.environ.get("PREFECT_API_URL")) and not bare.on()
