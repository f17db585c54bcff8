"""Registered versions: listed, shown with their whole lineage, and fetched as start models.

Who is champion is what the ledger says; MLflow's alias is put right on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from holdfast.errors import BadInput
from holdfast.home import Home
from holdfast.records import BaseRef, Start
from holdfast.registry import aliases, catalogue, ledger, tracking
from holdfast.registry.ledger import Promotion

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from mlflow import MlflowClient

SCHEME = "models:/"


def parse(reference: str) -> tuple[str, str]:
    """Return (name, alias or number) of `models:/NAME@champion`, `models:/NAME/3` or `models:/NAME` (its champion)."""
    bare = reference.removeprefix(SCHEME)
    for separator in ("@", "/"):
        name, found, which = bare.rpartition(separator)
        if found and name and which:
            return name, which
    if not bare or bare[-1] in "@/":
        raise BadInput(f"`{reference}` names no version", expected=f"{SCHEME}NAME@champion or {SCHEME}NAME/3")
    return bare, aliases.CHAMPION


def exists(name: str, home: Home) -> bool:
    """Say whether `name` has a champion (asks the ledger alone, so it is quick)."""
    return ledger.at(home).champion(name) is not None


def list(name: str, home: Home) -> Sequence[dict[str, Any]]:
    """Return the versions of `name`, oldest first: number, place, verdict, scores, start, adapter, when.

    Raises `BadInput` naming the nearest registered name when there is none.
    """
    client, book = tracking.client(home), ledger.at(home)
    found = catalogue.known(client, name)
    aliases.reconcile(client, book, name)
    places = _places(book.standing(name))
    return [_line(version, places) for version in found]


def _places(standing: Sequence[Promotion]) -> dict[str, str]:
    places: dict[str, str] = {}
    for entry, place in zip(reversed(standing), _PLACES, strict=False):
        places.setdefault(entry.version, place)  # a version promoted twice running is the champion
    return places


_PLACES = (aliases.CHAMPION, aliases.PREVIOUS)


def _line(version: ModelVersion, places: dict[str, str]) -> dict[str, Any]:
    traced = catalogue.lineage(version)
    target, remembered = traced.evaluation["target"], traced.evaluation["remembered"]
    return {
        "version": str(version.version),
        "place": places.get(str(version.version), ""),
        "verdict": version.tags.get(catalogue.VERDICT, ""),
        "before": round(target["before"], 4),
        "after": round(target["after"], 4),
        "gain": round(target["gain"], 4),
        "kept": f"{sum(task['kept'] for task in remembered)}/{len(remembered)}",
        "start": traced.start["model"],
        "adapter": version.tags[catalogue.DIGEST][:12],
        "registered": ledger.moment(version.creation_timestamp),
    }


def show(name: str, which: str, home: Home) -> dict[str, Any]:
    """Return everything about a version: lineage, scores, heads, the gate's word, its place, and the name's history.

    `which` is `champion`, `previous`, another alias, or a number. Raises `BadInput` when there is none such.
    """
    client, book = tracking.client(home), ledger.at(home)
    version = _find(client, book, name, which)
    number, traced = str(version.version), catalogue.lineage(version)
    entries = book.history(name)
    tests = {key: used["used"] for key, used in traced.data.items() if key.endswith(".test")}
    return {
        "name": name,
        "version": number,
        "title": version.tags[catalogue.TITLE],
        "place": _places(ledger.stand(entries)).get(number, ""),
        "verdict": version.tags.get(catalogue.VERDICT, "not decided"),
        "reason": version.tags.get(catalogue.REASON, ""),
        "digest": version.tags[catalogue.DIGEST],
        "run_id": version.run_id,
        "tracking": tracking.address(home),
        "report": str(home.reports / name / f"version-{number}" / "report.html"),
        "heads": {head: [*info.labels] for head, info in catalogue.heads(version).items()},
        "lineage": traced.model_dump(mode="json"),
        "decisions": [decision.model_dump() for decision in book.decisions(name, number)],
        "history": [entry.model_dump() for entry in entries],
        "scorings": {key: len(book.scorings(digest)) for key, digest in tests.items()},
    }


def fetch(name: str, which: str, home: Home) -> Start:
    """Return a version as a start model, its adapter in the home's store and verified.

    Raises `BadInput` when there is no such version, `Corrupt` when its bytes are not those that were registered.
    """
    client = tracking.client(home)
    version = _find(client, ledger.at(home), name, which)
    traced = catalogue.lineage(version)
    return Start(
        model=f"{SCHEME}{name}/{version.version}",
        base=BaseRef(**traced.start["base"]),
        version=str(version.version),
        adapter=catalogue.store_adapter(client, version, home),
        heads=catalogue.heads(version),
        task=traced.method.get("task", "classification"),
    )


def rival(name: str, adapter_digest: str, home: Home) -> Start | None:
    """Return the version that an adapter must not be worse than, or None where there is none.

    That is the champion, or the one before it where the champion is this very adapter.
    """
    standing = [entry for entry in ledger.at(home).standing(name) if entry.digest != adapter_digest]
    return fetch(name, standing[-1].version, home) if standing else None


def _find(client: MlflowClient, book: ledger.Ledger, name: str, which: str) -> ModelVersion:
    """Return the version that an alias or a number names; the ledger answers for `champion` and `previous`."""
    catalogue.known(client, name)
    aliases.reconcile(client, book, name)
    if which.isdecimal():
        return catalogue.get(client, name, str(int(which)))
    named = {place: number for number, place in _places(book.standing(name)).items()}
    if which not in _PLACES:
        named |= _aliases(client, name)
    if which not in named:
        known = ", ".join([*named, "a version's number"])
        raise BadInput(f"`{name}` has no {which}", expected=known)
    return catalogue.get(client, name, named[which])


def _aliases(client: MlflowClient, name: str) -> dict[str, str]:
    return {alias: str(version) for alias, version in client.get_registered_model(name).aliases.items()}
