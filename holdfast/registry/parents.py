"""What a merge must know of registered versions: what they were tuned from, and by which file they were judged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from holdfast.errors import HoldfastError
from holdfast.home import Home
from holdfast.records import BaseRef, Start
from holdfast.registry import catalogue, package, tracking, versions


@dataclass(frozen=True)
class Parent:
    """A registered version, the start model that it was tuned from, and its resolved pipeline file."""

    start: Start
    origin: Start
    pipeline: dict[str, Any]


def find(name: str, which: str, home: Home) -> Parent:
    """Return what is known of a version; raises `BadInput` where there is none, `Corrupt` where its bytes changed."""
    client = tracking.client(home)
    start = versions.fetch(name, which, home)
    version = catalogue.get(client, name, str(start.version))
    traced = catalogue.lineage(version)
    return Parent(start, _origin(traced.start, start, home), _pipeline(client, version, home))


def _origin(traced: dict[str, Any], start: Start, home: Home) -> Start:
    """Return the start model as lineage names it; raise `HoldfastError` where that is another one by now."""
    if traced["version"] is None:
        found = Start(model=traced["model"], base=BaseRef(**traced["base"]), task=start.task)
    else:
        found = versions.fetch(*versions.parse(traced["model"]), home)
    if found.digest != traced["digest"]:
        raise HoldfastError(f"{start.model} was tuned from {traced['model']}, which is another model by now")
    return found


def _pipeline(client: Any, version: Any, home: Home) -> dict[str, Any]:
    with home.store.scratch() as scratch:
        place = Path(client.download_artifacts(version.run_id, package.PIPELINE, str(scratch)))
        found: dict[str, Any] = yaml.safe_load(place.read_text(encoding="utf-8"))
    return found
