"""What MLflow knows of the registered versions: found, read, downloaded, and never seen before they are complete.

A version of ours is created by one statement, with all its tags, after everything it points at is in place; what lacks
the `holdfast.ready` tag is none.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast import choices, digests, manifest
from holdfast.errors import BadInput, Corrupt, HoldfastError
from holdfast.records import Artifact, HeadInfo, Lineage, Registered
from holdfast.registry import package, tracking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow.entities.model_registry import ModelVersion

    from holdfast.home import Home
    from mlflow import MlflowClient

READY, KEY, DIGEST, HEADS, TITLE = (f"holdfast.{name}" for name in ("ready", "key", "digest", "heads", "title"))
VERDICT, REASON, BY_HAND, SHADOW = (f"holdfast.{name}" for name in ("verdict", "reason", "by_hand", "shadow"))
_LONGEST_RUN_TAG = 8000
_DIMENSIONS = tuple(Lineage.model_fields)


def tags(key: str, digest: str, lineage: Lineage, heads: Mapping[str, HeadInfo]) -> dict[str, str]:
    """Return the tags that a version is created with; each dimension of its lineage is one of them, as JSON."""
    described = {name: list(head.labels) for name, head in heads.items()}
    found = {READY: "true", KEY: key, DIGEST: digest, TITLE: title(lineage), HEADS: digests.canonical_json(described)}
    return found | {f"holdfast.{name}": digests.canonical_json(getattr(lineage, name)) for name in _DIMENSIONS}


def title(lineage: Lineage) -> str:
    """Return a version's name in its four dimensions: start, data, method and evaluation, each with its own digest."""
    parts = {name: digests.of_json(getattr(lineage, name))[:8] for name in ("start", "data", "method", "evaluation")}
    return ".".join(f"{name}-{digest}" for name, digest in parts.items())


def lineage(version: ModelVersion) -> Lineage:
    """Return the lineage that a version carries; its evaluation has the `shadow` that the gate saw, if any."""
    found = {name: json.loads(version.tags[f"holdfast.{name}"]) for name in _DIMENSIONS}
    if SHADOW in version.tags:
        found["evaluation"]["shadow"] = json.loads(version.tags[SHADOW])
    return Lineage(**found)


def heads(version: ModelVersion) -> dict[str, HeadInfo]:
    """Return the heads that a version carries."""
    return {name: HeadInfo(labels=tuple(labels)) for name, labels in json.loads(version.tags[HEADS]).items()}


def ready(client: MlflowClient, name: str) -> list[ModelVersion]:
    """Return the complete versions of `name`, oldest first; empty when there are none."""
    found = client.search_model_versions(f"name={tracking.quoted(name)}", max_results=10_000)
    return sorted((v for v in found if v.tags.get(READY) == "true"), key=lambda version: int(version.version))


def by_key(client: MlflowClient, name: str, key: str) -> list[ModelVersion]:
    """Return the complete versions of `name` that stand for the piece of work `key`, oldest first."""
    return [version for version in ready(client, name) if version.tags.get(KEY) == key]


def names(client: MlflowClient) -> list[str]:
    """Return every name that has a complete version."""
    found = client.search_model_versions("", max_results=10_000)
    return sorted({version.name for version in found if version.tags.get(READY) == "true"})


def get(client: MlflowClient, name: str, number: str) -> ModelVersion:
    """Return a complete version by its number; raise `BadInput` naming what there is."""
    found = {str(version.version): version for version in known(client, name)}
    if number not in found:
        raise BadInput(f"`{name}` has no version {number}", expected=f"one of {', '.join(found)}")
    return found[number]


def known(client: MlflowClient, name: str) -> list[ModelVersion]:
    """Return `ready(client, name)`; raise `BadInput` naming the nearest registered name when there is none."""
    found = ready(client, name)
    if not found:
        registered = names(client)
        expected = f"one of {', '.join(registered)}" if registered else "a registered name; there is none yet"
        raise BadInput(
            f"nothing is registered as `{name}`", expected=expected, remedy=choices.nearest(name, registered)
        )
    return found


def mark(client: MlflowClient, version: Registered, tags: Mapping[str, str]) -> None:
    """Set tags on a version and on its run, where people look."""
    for tag, value in tags.items():
        client.set_model_version_tag(version.name, version.version, tag, value)
        client.set_tag(version.run_id, tag, value[:_LONGEST_RUN_TAG])


@contextmanager
def adapter(client: MlflowClient, version: ModelVersion, home: Home) -> Iterator[Path]:
    """Give the adapter folder of a version as the registry holds it (downloaded unless it lies on this machine).

    Raises `Corrupt` when it is not the one that was registered, `HoldfastError` when it cannot be had.
    """
    with home.store.scratch() as scratch:
        folder = _download(client, version, scratch)
        if digests.of_json(digests.of_folder(folder)) != version.tags[DIGEST]:
            raise Corrupt(
                f"{_first_fault(folder)}: the adapter of version {version.version} of `{version.name}` is not the one "
                f"that was registered, with digest {version.tags[DIGEST][:12]}. Restore it from a backup, or make it "
                "again: `holdfast show` names its pipeline file and data"
            )
        yield folder


def _first_fault(folder: Path) -> str:
    """Return what the folder's own manifest finds wrong first, or the folder where it finds nothing."""
    try:
        manifest.verify(folder)
    except Corrupt as error:
        return str(error)
    return str(folder)


def _download(client: MlflowClient, version: ModelVersion, place: Path) -> Path:
    from mlflow.artifacts import download_artifacts
    from mlflow.utils.file_utils import local_file_uri_to_path

    root = client.get_model_version_download_uri(version.name, version.version)
    uri = f"{root}/{package.ADAPTER}"
    try:
        if uri.startswith("file:"):
            return Path(local_file_uri_to_path(uri))
        return Path(download_artifacts(artifact_uri=uri, dst_path=str(place)))
    except Exception as error:
        raise HoldfastError(
            f"version {version.version} of `{version.name}`: its adapter cannot be had from {uri} ({error})"
        ) from error


def store_adapter(client: MlflowClient, version: ModelVersion, home: Home) -> Artifact:
    """Return a version's adapter as an artifact of the home's store, fetched from the registry when it is not there."""
    wanted = Artifact(kind="adapter", digest=version.tags[DIGEST])
    if home.store.holds(wanted):
        return wanted
    home.store.discard(wanted)
    with adapter(client, version, home) as found, home.store.scratch() as scratch:
        shutil.copytree(found, scratch / "adapter")
        return home.store.put(scratch / "adapter", wanted.kind)
