"""A tuning handed to another machine and back: an MLflow run's artifacts, named by digests that either side verifies.

No disk is shared. What is handed over is `job.json` and a folder for each artifact that it names and a tuning reads:
what was selected, rows to learn and to validate on (never those of a test), the start model's deltas, and a base model
that is a folder and not a name. What comes back is `tuned.json` with its artifacts. Whoever takes either is told the
digest of the JSON by another way; all the rest hangs on it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from holdfast import bases, digests
from holdfast.errors import BadInput, Corrupt, HoldfastError
from holdfast.records import Artifact, BaseRef, Record, Selected, Start, Tuned, Validated
from holdfast.records import Assessed as Assessment
from holdfast.registry import fencing, tracking
from holdfast.spec import Recipe, Remember

if TYPE_CHECKING:
    from holdfast.home import Home
    from mlflow import MlflowClient

EXPERIMENT, TAG, NAME = "holdfast-handover", "holdfast.handover", "holdfast.handover.name"
JOB, TUNED = "job.json", "tuned.json"
_FOLDERS = "artifacts"


class Job(Record):
    """What a tuning is given. `folders` are the bases that are folders, by the SHA-256 of their weights."""

    selected: Selected
    assessed: Assessment
    validated: Validated
    start: Start
    recipe: Recipe
    remember: tuple[Remember, ...]
    teacher: Start | None = None
    folders: dict[str, Artifact] = Field(default_factory=dict)

    @property
    def needed(self) -> list[Artifact]:
        """Every artifact that a tuning reads."""
        models = [start.adapter for start in (self.start, self.teacher) if start and start.adapter]
        data = [version.artifact for version in self.validated.datasets.values()]
        importance = [self.assessed.artifact] if self.recipe.reads_importance else []
        return [self.selected.artifact, *importance, *data, *models, *self.folders.values()]


class Address(Record):
    """Where something was handed over: an MLflow run, and the digest of the JSON file that says what it is."""

    run_id: str
    digest: str


def job(given: Job, home: Home) -> Job:
    """Return what of a job leaves this machine: no path, no test set, no row of an expectation; folders are kept.

    Raises `BadInput` where the recipe reads a file of this machine.
    """
    for path in _paths(given.recipe.model_dump(mode="json")):
        raise BadInput(f"the method reads {path}, which stays on this machine", key="run.workers", expected="here")
    data = {name: one for name, one in given.validated.datasets.items() if not name.endswith(".test")}
    validated = given.validated.model_copy(update={"datasets": data, "expectations": (), "competences": ()})
    starts = [start for start in (given.start, given.teacher) if start is not None]
    folders = {s.base.sha256: _kept(s.base, home) for s in starts if Path(s.base.name).is_dir()}
    plain = given.model_copy(update={"validated": validated, "folders": folders}).model_dump(mode="json")
    return Job.model_validate(_without_paths(plain))


def _paths(value: Any) -> Iterable[str]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _paths(item)
    elif isinstance(value, str) and Path(value).is_absolute():
        yield value


def _without_paths(value: Any) -> Any:
    """Return JSON in which an absolute path is its last part, so that the same job is the same file anywhere."""
    if isinstance(value, dict):
        return {key: _without_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_paths(item) for item in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def _kept(base: BaseRef, home: Home) -> Artifact:
    """Return the files of a base's folder, in a folder of its own name, as an artifact."""
    folder = bases.locate(base)
    with home.store.scratch() as scratch:
        copy = scratch / "base" / folder.name
        copy.mkdir(parents=True)
        for pattern in bases.PATTERNS:
            for file in folder.glob(pattern):
                shutil.copyfile(file, copy / file.name)
        return home.store.put(scratch / "base", "base")


def hand(given: Job, home: Home) -> Address:
    """Hand a job over and return where; the same job that nobody has taken back yet keeps its place.

    One adaptation of a name is under way at a time: other jobs that were handed over for the name under a fence are
    ended, and the workers that still tune them write nothing more (`fencing.Lent`). Raises `Fenced`.
    """
    home.check_fence()
    client = tracking.client(home)
    text = _text(given)
    digest = digests.of_bytes(text)
    experiment = tracking.experiment(client, EXPERIMENT, home)
    name = home.fence.name if isinstance(home.fence, fencing.Token) else None
    if name is not None:
        _end_others(client, experiment, name, digest)
    open_ones = f"attributes.status = 'RUNNING' and tags.`{TAG}` = {tracking.quoted(digest)}"
    for run in client.search_runs([experiment], open_ones, max_results=1):
        return Address(run_id=run.info.run_id, digest=digest)
    tags = {} if name is None else {NAME: name}
    run_id = str(client.create_run(experiment, tags=tags, run_name=f"tuning {digest[:12]}").info.run_id)
    _upload(client, run_id, JOB, text, given.needed, home)
    client.set_tag(run_id, TAG, digest)  # only now can it be found
    return Address(run_id=run_id, digest=digest)


def _end_others(client: MlflowClient, experiment: str, name: str, digest: str) -> None:
    """End what was handed over for a name, but for the job that has the digest."""
    running = f"attributes.status = 'RUNNING' and tags.`{NAME}` = {tracking.quoted(name)}"
    for run in client.search_runs([experiment], running):
        if run.data.tags.get(TAG) != digest:
            client.set_terminated(run.info.run_id, "KILLED")


def lent(run_id: str, home: Home) -> Home:
    """Return the home of a worker for the tuning that lies in `run_id`: it writes only while somebody waits for it."""
    return replace(home, fence=fencing.Lent(run_id, home.tracking_uri))


def take(address: Address, home: Home) -> Job:
    """Return a job that was handed over, its artifacts in this home's store and its bases where they lie there.

    Raises `Corrupt` where anything is not what its digest says.
    """
    client = tracking.client(home)
    given = Job.model_validate_json(_read(client, address, JOB))
    _download(client, address, given.needed, home)
    places = {sha256: next(home.store.open(kept).iterdir()) for sha256, kept in given.folders.items()}

    def located(start: Start | None) -> Start | None:
        if start is None or start.base.sha256 not in places:
            return start
        named = start.base.model_copy(update={"name": str(places[start.base.sha256])})
        return start.model_copy(update={"base": named})

    return given.model_copy(update={"start": located(given.start), "teacher": located(given.teacher)})


def give(tuned: Tuned, run_id: str, home: Home) -> Address:
    """Hand a tuned model back and return where; raises `Fenced` where nobody waits for it."""
    home.check_fence()
    text = _text(tuned)
    _upload(tracking.client(home), run_id, TUNED, text, _parts(tuned), home)
    return Address(run_id=run_id, digest=digests.of_bytes(text))


def fetch(address: Address, home: Home) -> Tuned:
    """Return a tuned model that was handed back, its artifacts in this home's store; raises `Corrupt` as `take`."""
    client = tracking.client(home)
    tuned = Tuned.model_validate_json(_read(client, address, TUNED))
    _download(client, address, _parts(tuned), home)
    return tuned


def close(run_id: str, home: Home, status: str = "FINISHED") -> None:
    """End a hand-over: its folders are removed, the two JSON files stay."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    client = tracking.client(home)
    client.set_terminated(run_id, status)
    get_artifact_repository(client.get_run(run_id).info.artifact_uri).delete_artifacts(_FOLDERS)


def _parts(tuned: Tuned) -> list[Artifact]:
    return [tuned.adapter, tuned.curve, *([tuned.trajectory] if tuned.trajectory else [])]


def _text(record: Record) -> bytes:
    return digests.canonical_json(record.model_dump(mode="json")).encode()


def _upload(
    client: MlflowClient, run_id: str, name: str, text: bytes, artifacts: Iterable[Artifact], home: Home
) -> None:
    for artifact in artifacts:
        folder = home.store.open(artifact)
        _through(partial(client.log_artifacts, run_id, str(folder), f"{_FOLDERS}/{artifact.digest}"), name)
    with home.store.scratch() as scratch:
        (scratch / name).write_bytes(text)
        _through(partial(client.log_artifact, run_id, str(scratch / name)), name)


def _read(client: MlflowClient, address: Address, name: str) -> bytes:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as place:
        text = Path(_through(partial(client.download_artifacts, address.run_id, name, place), name)).read_bytes()
    if digests.of_bytes(text) != address.digest:
        raise Corrupt(f"{name} of the MLflow run {address.run_id} does not match the digest {address.digest[:12]}")
    return text


def _download(client: MlflowClient, address: Address, artifacts: Iterable[Artifact], home: Home) -> None:
    for artifact in artifacts:
        if home.store.holds(artifact):
            continue
        home.store.discard(artifact)
        name = f"{_FOLDERS}/{artifact.digest}"
        with home.store.scratch() as scratch:
            found = Path(_through(partial(client.download_artifacts, address.run_id, name, str(scratch)), name))
            if digests.of_json(digests.of_folder(found)) != artifact.digest:
                raise Corrupt(f"{name} of the MLflow run {address.run_id} does not match its {artifact.kind}'s digest")
            home.store.put(found, artifact.kind)


def _through(call: Callable[[], Any], what: str) -> Any:
    """Return what MLflow answers; its errors become one that names what was wanted."""
    try:
        return call()
    except Exception as error:
        raise HoldfastError(f"{what} could not be handed over by MLflow: {str(error).splitlines()[0]:.300}") from error
