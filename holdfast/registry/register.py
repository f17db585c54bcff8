"""The stage that gives a tuned model its version: one MLflow run with everything, then the version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from holdfast import adapters
from holdfast.errors import Fenced
from holdfast.home import Home
from holdfast.records import Assessed, Evaluated, Prepared, Registered, Selected, Tuned, Validated
from holdfast.registry import aliases, card, catalogue, ledger, package, runs, tracking
from holdfast.registry.work import Work
from holdfast.spec import Pipeline

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

    from mlflow import MlflowClient


def register(
    pipeline: Pipeline,
    prepared: Prepared,
    validated: Validated,
    assessed: Assessed,
    selected: Selected,
    tuned: Tuned,
    evaluated: Evaluated,
    home: Home,
) -> Registered:
    """Register a tuned and evaluated model under the pipeline's name and return its version.

    The same work gets the version that it already has, whatever its `gate` says; work that was killed half-way is
    completed under the run it had. Every test set scored is counted in the ledger. Raises `Corrupt` when an artifact
    is not what its digest says, `Fenced` when another run took this one's place.
    """
    home.check_fence()
    work = Work(pipeline, prepared, validated, assessed, selected, tuned, evaluated)
    client, book = tracking.client(home), ledger.at(home)
    scored = _count_scorings(book, work)
    experiment = tracking.experiment(client, pipeline.name, home)
    if not catalogue.by_key(client, work.name, work.key):
        try:
            _make(client, experiment, work, scored, home)
        except Exception:  # another run that took over removes what this one had begun
            home.check_fence()
            raise
    home.check_fence()
    version = _the_one(client, work)
    runs.close_others(client, experiment, version.run_id)
    package.discard_others(client, experiment, version)
    aliases.reconcile(client, book, work.name)
    digest = version.tags[catalogue.DIGEST]
    return Registered(name=work.name, version=str(version.version), run_id=version.run_id, digest=digest)


def _count_scorings(book: ledger.Ledger, work: Work) -> dict[str, int]:
    """Count the test sets that were scored; return how often each has been scored by now."""
    counted, adapter, evaluation = {}, work.tuned.adapter.digest, work.evaluated.artifact.digest
    for key, version in work.validated.datasets.items():
        if key.endswith(".test"):
            book.record_scoring(version.digest, work.name, key, adapter, evaluation)
            counted[key] = len(book.scorings(version.digest))
    return counted


def _make(client: MlflowClient, experiment: str, work: Work, scored: Mapping[str, int], home: Home) -> None:
    """Log the run and the model, and then create the version: before that nothing is visible, then everything is."""
    from mlflow.exceptions import MlflowException

    heads = adapters.info(home.store.open(work.tuned.adapter))
    opened = runs.opened(client, experiment, work.key, catalogue.title(work.lineage), home.check_fence)
    with opened as run, home.store.scratch() as papers:
        package.lay_out(papers, work, card.write(work, heads, scored), home)
        _log_run(client, run, work, home)
        runs.log_files(client, run, [papers / name for name in package.PAPERS])
        model = package.log(client, run, papers, work, heads[work.head].labels if heads else None, home)
    try:
        client.create_registered_model(work.name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = catalogue.tags(work.key, work.tuned.adapter.digest, work.lineage, heads)
    home.check_fence()
    made = client.create_model_version(work.name, f"models:/{model}", run.info.run_id, tags, model_id=model)
    try:
        home.check_fence()
    except Fenced:  # another run took over between the two checks
        _take_back(client, made, work)
        raise


def _take_back(client: MlflowClient, made: ModelVersion, work: Work) -> None:
    """Remove a version just made, unless it is the first of its work: then whoever took over goes on with it."""
    if catalogue.by_key(client, work.name, work.key)[0].version != made.version:
        client.delete_model_version(made.name, made.version)


def _log_run(client: MlflowClient, run: Run, work: Work, home: Home) -> None:
    folders = {name: home.store.open(artifact) for name, artifact in work.artifacts.items()}
    curve = json.loads((folders["curve"] / "curve.json").read_text(encoding="utf-8"))
    runs.log(client, run, work, curve)
    runs.log_folders(client, run, folders, home)


def _the_one(client: MlflowClient, work: Work) -> ModelVersion:
    """Return the version of a piece of work; where two processes made one each at once, the first stays."""
    first, *others = catalogue.by_key(client, work.name, work.key)
    for other in others:
        client.delete_model_version(work.name, other.version)
    return first
