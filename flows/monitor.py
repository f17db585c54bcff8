"""The flow `monitor`: take the complete windows, watch each against the reference, decide, and write down why."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from prefect import flow

from flows import act as acting
from flows import alarm as alarms
from flows.bare import plain
from flows.stages import Stages
from holdfast import clock, spec
from holdfast import home as homes
from holdfast.decisions import rounds, trial
from holdfast.decisions.records import Decision
from holdfast.drift.champion import Champion
from holdfast.drift.reference import Reference
from holdfast.drift.watch import Taken, Watched
from holdfast.home import Home
from holdfast.records import DatasetVersion, Result
from tasks import watch as watching


@flow(name="monitor", flow_run_name="monitor {file}", persist_result=False)
async def monitor(
    file: str, overrides: list[str], home: str, data: str | None, manual: str | None, *, alarm: bool = True
) -> list[dict]:
    """Do one round of watching; return its decisions (`holdfast.decisions.records.Decision`), oldest window first.

    With `alarm` a decision to retrain or to roll back that nobody has acted upon is told to the server (`flows.alarm`).
    """
    pipeline, stages = spec.load(Path(file), overrides), Stages(homes.make(Path(home)))
    place, now, at = stages.home, clock.now(), clock.text()

    champion = Champion(**plain(watching.champion)(pipeline.registered_name, place))
    dataset = DatasetVersion(**plain(watching.reference_rows)(champion, pipeline, place))
    reference = await stages.run(
        watching.reference, Reference, champion=champion, dataset=dataset, pipeline=pipeline
    )  # fmt: skip
    windows = plain(watching.windows)(pipeline, Path(data) if data else None, now.timestamp(), place)

    decisions: list[Decision] = []
    for window in [Taken(**taken) for taken in windows]:
        if window.decided and manual is None:
            decisions.append(rounds.known(champion, window, place))
            continue
        watched = Watched(**plain(watching.watch)(window, reference, champion, pipeline, place))
        decisions.append(Decision(**plain(watching.decide)(champion, watched, pipeline, at, manual, place)))
    if not windows:
        decisions.append(Decision(**plain(watching.decide)(champion, None, pipeline, at, manual, place)))
    if alarm:
        await alarms.send(pipeline, decisions[-1], place)
    return [decision.model_dump(mode="json") for decision in decisions]


def once(
    file: Path,
    overrides: list[str],
    home: Home,
    data: Path | None = None,
    manual: str | None = None,
    act: bool = False,
    announce: Callable[[str], None] = lambda line: None,
    now: datetime | None = None,
) -> tuple[list[Decision], Result | None]:
    """Do one round and, with `act`, the rollback or the adaptation that a decision asks for and none has done yet.

    All that is written down has the time `now`, by default the machine's (see `holdfast.clock`). Raises `Conflict`
    where an adaptation of the name is under way.
    """
    from flows import server

    server.ready(home)
    with clock.at(now):
        place, rows = str(home.path), str(data) if data else None
        found = asyncio.run(plain(monitor)(str(file), overrides, place, rows, manual, alarm=not act))
        decisions = [Decision(**decision) for decision in found]
        wanted = trial.wanted(decisions[-1], clock.text(), home) if act else None
        if wanted is None:
            return decisions, None
        doing = "rolling back" if wanted.outcome == "rollback" else "adapting"
        announce(f"{doing} {wanted.name} as decided at {wanted.at}: {wanted.reason}")
        return decisions, asyncio.run(acting.act(wanted.key, file, overrides, home))
