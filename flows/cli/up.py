"""`holdfast up`, `status` and `down`: this home's Prefect server, MLflow server and worker."""

import asyncio
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli import common

if TYPE_CHECKING:
    from holdfast.home import Home
    from holdfast.services import Up
    from holdfast.spec import Pipeline

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def up(
    files: Annotated[list[Path] | None, typer.Argument(help="Pipeline files, beside those that are known.")] = None,
    pipelines: Annotated[
        Path | None,
        typer.Option(help="A folder of pipeline files; else pipelines/ where that is, if no FILES are named."),
    ] = None,
    every: Annotated[str | None, typer.Option(help="Time between two rounds of watching: 90s, 15m, 1h. [15m]")] = None,
    home: common.HomeOption = None,
    json: common.JsonOption = False,
) -> None:
    """Start a Prefect server, an MLflow server and a worker for this home, and register the pipelines there.

    Whatever of it is running already is left alone. Every pipeline gets the deployments adapt/NAME and, where it
    classifies, monitor/NAME with a schedule and adapt-drift/NAME, which an alarm starts.
    """
    with common.guarded(json):
        from flows import services as running
        from holdfast import faults, services

        running.refuse_other_server()
        place = common.enter(home)
        faults.check_room(place.path)
        with services.alone(place):
            state = services.read(place) or services.Up()
            chosen = _pipelines(state, files or [], pipelines)
            state.every = _seconds(every) if every else state.every
            before = [role for role in running.ROLES if services.runs(state, role)]
            try:
                buried = _start(place, state, chosen)
            except BaseException:
                if not before:
                    running.stop(place, state)
                raise
        started = [role for role in running.ROLES if role in state.processes and role not in before]
        known = {pipeline.name: str(file) for file, pipeline in chosen.items()}
        found: dict[str, Any] = {"home": str(place.path), "started": started, "crashed": buried, "pipelines": known}
        found |= state.addresses
        common.print_json(found) if json else _show_up(found)


def _start(place: "Home", state: "Up", chosen: dict[Path, "Pipeline"]) -> list[str]:
    """Start what is not running and register `chosen`; return the names of the runs that were found dead."""
    from flows import services as running
    from holdfast import services

    worked = services.runs(state, "worker")
    started = running.start(place, state, _announce)
    common.use_server(place)
    from flows import deployments, standing

    state.files = [str(file) for file in chosen]
    asyncio.run(deployments.register(chosen, state.every, place))
    if not worked:
        running.left_over(state, "worker")
    living = [given[services.RUN] for given in services.found(state).values() if services.RUN in given]
    buried = asyncio.run(deployments.bury(living, not worked)) if started or not worked else []
    if not worked:
        begun = time.time()
        running.start_worker(place, state, _announce)
        asyncio.run(standing.wait_for_worker(begun))
    services.write(place, state)
    return buried


def _pipelines(state: "Up", files: list[Path], folder: Path | None) -> dict[Path, "Pipeline"]:
    """Return the pipelines to register by their files: those named, those of a folder, and those known before."""
    from holdfast import spec
    from holdfast.errors import BadInput

    if folder is not None and not folder.is_dir():
        raise BadInput("no such folder", file=folder, key="--pipelines")
    given = folder or (Path("pipelines") if not files and Path("pipelines").is_dir() else None)
    found = [*files, *(sorted(given.glob("*.yaml")) if given else [])]
    known = [file for file in map(Path, state.files) if file.is_file()]
    loaded = {file: spec.load(file) for file in dict.fromkeys(file.resolve() for file in [*known, *found])}
    names: dict[str, Path] = {}
    for file, pipeline in loaded.items():
        if pipeline.name in names:
            raise BadInput(
                f"{names[pipeline.name]} has the same name", file=file, key="name", expected="one of its own"
            )
        names[pipeline.name] = file
    return loaded


def _seconds(text: str) -> float:
    from holdfast.errors import BadInput

    found = re.fullmatch(r"(\d+)([smhd])", text.strip())
    if not found or int(found[1]) == 0:
        raise BadInput(f"{text!r} is no span of time", key="--every", expected="such as 90s, 15m or 1h")
    return float(int(found[1]) * _SECONDS[found[2]])


def _announce(line: str) -> None:
    typer.echo(line, err=True)


def _show_up(found: dict[str, Any]) -> None:
    typer.echo("up already" if not found["started"] else f"started: {', '.join(found['started'])}")
    typer.echo(f"Prefect: {found['prefect']}\nMLflow: {found['mlflow']}")
    for name in found["crashed"]:
        typer.echo(f"marked Crashed, because its process was dead: {name}")
    for name, file in found["pipelines"].items():
        typer.echo(f"pipeline {name}: {file}")
    if not found["pipelines"]:
        typer.echo("no pipelines: name their files, or a folder with --pipelines")


def status(home: common.HomeOption = None, json: common.JsonOption = False) -> None:
    """Say what runs for this home: servers, worker, deployments and their schedules, runs. Exit 1: not all is up."""
    with common.guarded(json):
        place = common.enter(home)
        from flows import services as running
        from holdfast import services

        state = services.read(place) or services.Up()
        found: dict[str, Any] = {"home": str(place.path)}
        for role in running.ROLES:
            found[role] = {"running": services.runs(state, role), "address": state.addresses.get(role)}
        if services.address(place):
            from flows import standing

            found |= asyncio.run(standing.overview())
        wanted = [role for role in running.ROLES if role in state.processes or not state.made]
        found["up"] = "trouble" not in found and all(found[role]["running"] for role in wanted)
        common.print_json(found) if json else _show_status(found, running.ROLES)
        raise typer.Exit(0 if found["up"] else 1)


def _show_status(found: dict[str, Any], roles: tuple[str, ...]) -> None:
    for role in roles:
        address = found[role]["address"] or ""
        typer.echo(f"{role}: {'running' if found[role]['running'] else 'not running'} {address}".rstrip())
    if "trouble" in found:
        typer.echo(found["trouble"])
    for worker in found.get("workers", []):
        typer.echo(f"worker {worker['name']}: {worker['status']}, last seen {worker['last_seen']}")
    for one in found.get("deployments", []):
        said = [f"{_rhythm(s)}{'' if s['active'] else ', paused'}" for s in one["schedules"]]
        typer.echo(f"deployment {one['name']}: {'; '.join(said) or 'no schedule'}")
    for run in found.get("runs", []):
        typer.echo(f"run {run['name']}: {run['state']} since {run['since']}")


def _rhythm(schedule: dict[str, Any]) -> str:
    if "every" in schedule:
        return f"every {schedule['every']:g} s"
    return next(f"{kind} {text}" for kind, text in schedule.items() if kind != "active")


def down(home: common.HomeOption = None, json: common.JsonOption = False) -> None:
    """Stop what `holdfast up` started for this home and nothing else, also what a crash left of it."""
    with common.guarded(json):
        place = common.enter(home)
        from flows import services as running
        from holdfast import services

        with services.alone(place):
            state = services.read(place)
            ended = running.stop(place, state) if state else 0
        if json:
            common.print_json({"home": str(place.path), "stopped": ended})
        else:
            typer.echo(f"stopped {ended} processes" if ended else "nothing was running")
