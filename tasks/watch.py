"""Watching: the champion, the reference measured once, the windows of production data, and each of them watched."""

from pathlib import Path
from typing import Any

from prefect import task

from holdfast.home import Home
from holdfast.records import DatasetVersion
from holdfast.spec import Pipeline
from tasks import caching


@task(name="champion", persist_result=False)
def champion(name: str, home: Home) -> dict[str, Any]:
    """Return the `Champion` of a name; never cached, because it changes."""
    from holdfast.drift import champion as champions

    return champions.find(name, home).model_dump(mode="json")


@task(name="reference-rows", persist_result=False)
def reference_rows(champion: Any, pipeline: Pipeline, home: Home) -> dict[str, Any]:
    """Return the reference's `DatasetVersion`."""
    from holdfast.drift import champion as champions

    return champions.reference_rows(champion, pipeline, home).model_dump(mode="json")


def _sees(parameters: dict[str, Any]) -> list[Any]:
    model, monitor = parameters["champion"], parameters["pipeline"].monitor
    reading = [model.head, model.max_length, model.precision]
    return [parameters["dataset"], model.start, reading, monitor.columns, monitor.checks.embedding is not None]


@caching.stage("holdfast.drift.champion", _sees)
def reference(champion: Any, dataset: DatasetVersion, pipeline: Pipeline, home: Home) -> dict[str, Any]:
    """Return the `Reference`: its statistics are measured once for a champion and a dataset."""
    from holdfast.drift import champion as champions
    from holdfast.drift import reference as references

    monitor = pipeline.monitor
    embed = monitor.checks.embedding is not None
    made = references.build(
        dataset, lambda rows: champions.look(champion, rows, home, embed), monitor.columns, home
    )  # fmt: skip
    return made.model_dump(mode="json")


@task(name="windows", persist_result=False)
def windows(pipeline: Pipeline, data: Path | None, now: float, home: Home) -> list[dict[str, Any]]:
    """Return the windows to watch (`Taken`), oldest first; `data`, where given, is one window."""
    from holdfast.decisions import book
    from holdfast.drift import production, watch

    produced = production.read(pipeline, home, data)
    past = book.at(home).past(pipeline.registered_name).decisions
    found = watch.take(produced, pipeline.monitor, past, home, data is not None, now)
    return [taken.model_dump(mode="json") for taken in found]


@task(name="watch", persist_result=False)
def watch(window: Any, reference: Any, champion: Any, pipeline: Pipeline, home: Home) -> dict[str, Any]:
    """Return what was seen of a window (`Watched`), with an Evidently report in the home's reports."""
    from holdfast.decisions import book
    from holdfast.drift import watch as watching

    past = book.at(home).past(champion.name).decisions
    folder = home.reports / champion.name / f"window-{window.digest[:16]}"
    seen = watching.watch(window, reference, champion, pipeline.monitor, past, folder, home)
    return seen.model_dump(mode="json")


@task(name="decide", persist_result=False)
def decide(champion: Any, watched: Any, pipeline: Pipeline, at: str, manual: str | None, home: Home) -> dict[str, Any]:
    """Return the `Decision` about a watched window, or about a round without one, once it is in the book."""
    from holdfast.decisions import rounds

    return rounds.decide(champion, watched, pipeline.monitor, at, manual, home).model_dump(mode="json")
