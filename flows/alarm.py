"""An alarm: a Prefect event that says that a decision to retrain waits to be done.

It is a hint and nothing else. It names the decision, and whoever is started by it looks that up in the book, so an
event that is forged, malformed or repeated starts nothing, and one that got lost is sent again by the next round.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.decisions import book

if TYPE_CHECKING:
    from holdfast.decisions.records import Decision
    from holdfast.home import Home
    from holdfast.spec import Pipeline

EVENT = "holdfast.drift.alarm"


def resource(pipeline: Pipeline) -> dict[str, str]:
    """Return the labels of what an alarm is about: the registered model, and the pipeline that watches it."""
    return {"prefect.resource.id": f"holdfast.model.{pipeline.registered_name}", "holdfast.pipeline": pipeline.name}


async def send(pipeline: Pipeline, last: Decision, home: Home) -> Decision | None:
    """Send an alarm if a decision to retrain waits for someone to do it; return that decision.

    `last` is the newest decision. Without a server that outlives this process there is nobody to send it to.
    """
    written = book.at(home)
    wanted = written.waiting(last, clock.text())
    if wanted is None or not os.environ.get("PREFECT_API_URL"):
        return None
    from prefect.client.orchestration import get_client
    from prefect.events.schemas.events import Event

    payload = {"decision": wanted.key, "episode": wanted.episode}
    event = Event(event=EVENT, resource=resource(pipeline), payload=payload)
    async with get_client() as client:  # not by `emit_event`: its answer says that the server has the event
        await client.request("POST", "/events", json=[event.model_dump(mode="json")])
    return wanted
