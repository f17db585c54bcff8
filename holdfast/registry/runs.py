"""The MLflow run of a version: parameters, a metric per step, scores, dataset inputs and pictures.

One run stands for one piece of work, found by its key: a digest of the adaptation's settings, start, data, adapter and
scores. Everything is logged so that logging it again changes nothing: a run that a killed process left RUNNING is
opened again by its id and completed.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from holdfast.records import DatasetVersion, Evaluated, Selected
from holdfast.registry import tracking
from holdfast.registry.work import Work

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Run

    from holdfast.home import Home
    from mlflow import MlflowClient

KEY = "holdfast.key"
Item = TypeVar("Item")
_PARAMS_AT_ONCE, _METRICS_AT_ONCE = 100, 1000  # MLflow's own limits
_LONGEST_PARAM = 6000


@contextmanager
def opened(
    client: MlflowClient, experiment: str, key: str, name: str, allowed: Callable[[], None] = lambda: None
) -> Iterator[Run]:
    """Give the run of a piece of work: the one that has its key, running again from now on, else a new one.

    Afterwards it is FINISHED, or FAILED where an error came through; not where `allowed`, asked then, raises, for
    another process works on it now.
    """
    run = _open(client, experiment, key, name)
    try:
        yield run
    except BaseException:
        with suppress(Exception):
            allowed()
            client.set_terminated(run.info.run_id, "FAILED")
        raise
    client.set_terminated(run.info.run_id, "FINISHED")


def _open(client: MlflowClient, experiment: str, key: str, name: str) -> Run:
    found = client.search_runs([experiment], f"tags.`{KEY}` = {tracking.quoted(key)}", max_results=1)
    if not found:
        return client.create_run(experiment, tags={KEY: key}, run_name=name)
    client.update_run(found[0].info.run_id, status="RUNNING")
    return found[0]


def close_others(client: MlflowClient, experiment: str, kept: str) -> None:
    """Mark as KILLED every run of a pipeline that is still RUNNING, other than `kept`.

    A killed process left it, and its work, since made again with another result or changed, did not open it again. One
    that a living process works on says itself what became of it when it ends.
    """
    running = f"attributes.status = 'RUNNING' and tags.`{KEY}` != ''"
    for run in client.search_runs([experiment], running):
        if run.info.run_id != kept:
            client.set_terminated(run.info.run_id, "KILLED")


def params(resolved: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return a resolved pipeline file as `dotted.key: text`; list items that have a name go by it, the rest is JSON."""
    flat: dict[str, str] = {}
    for key, value in resolved.items():
        name = f"{prefix}{_allowed(str(key))}"
        if isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value):
            value = {str(item["name"]): item for item in value}
        if isinstance(value, Mapping) and value:
            flat |= params(value, f"{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            flat[name] = text[:_LONGEST_PARAM]
    return flat


def log(client: MlflowClient, run: Run, work: Work, curve: Mapping[str, Any]) -> None:
    """Log parameters, the curve, the scores and the dataset inputs of a run."""
    from mlflow.entities import Metric, Param

    run_id, begun = run.info.run_id, run.info.start_time
    for some in _chunks(list(params(work.settings).items()), _PARAMS_AT_ONCE):
        client.log_batch(run_id, params=[Param(name, value) for name, value in some])
    final = scores(work.selected, work.evaluated)
    final |= own_words(curve.get("targets") or {})
    points = [*_steps(curve), *((name, value, work.tuned.steps) for name, value in final.items())]
    # The time is made from the step, so that the same point logged twice is one point.
    metrics = [Metric(name, value, begun + step, step) for name, value, step in points]
    for chunk in _chunks(metrics, _METRICS_AT_ONCE):
        client.log_batch(run_id, metrics=chunk)
    client.log_inputs(run_id, datasets=[_input(key, version) for key, version in work.prepared.datasets.items()])


def _steps(curve: Mapping[str, Any]) -> Iterator[tuple[str, float, int]]:
    """Yield (name, value, step) of a loss curve: `tune.*` per update, `valid.*` per epoch."""
    for name, key in (("tune", "steps"), ("valid", "valid")):
        for entry in curve.get(key, []):
            step = int(entry["step"])
            numbers = {k: v for k, v in entry.items() if k != "step" and isinstance(v, int | float)}
            yield from ((f"{name}.{_allowed(k)}", float(v), step) for k, v in numbers.items())


def scores(selected: Selected, evaluated: Evaluated) -> dict[str, float]:
    """Return what a version scored and lost, and how much of it moved, as metrics."""
    found: dict[str, Any] = {"selection.moved": selected.moved, "selection.share": selected.share}
    parts: list[tuple[str, Any]] = [("target", evaluated.target), ("champion", evaluated.champion)]
    parts += [(f"remembered.{task.name}", task) for task in evaluated.remembered]
    for name, part in parts:
        fields = part.model_dump() if part is not None else {}
        found |= {f"{name}.{k}": v for k, v in fields.items() if isinstance(v, int | float)}
    found |= {f"kl.{name}": value for name, value in evaluated.kl.items()}
    if evaluated.cka is not None:
        found["cka"] = evaluated.cka
    return {_allowed(name): float(value) for name, value in found.items()}


def own_words(log: Mapping[str, Any], prefix: str = "targets") -> dict[str, float]:
    """Return where learned answers come from as metrics: shares, likelihoods, lengths, and what was refused why."""
    found: dict[str, float] = {}
    for key, value in log.items():
        name = f"{prefix}.{_allowed(str(key))}"
        if isinstance(value, Mapping):
            found |= own_words(value, name)
        elif isinstance(value, int | float):
            found[name] = float(value)
    return found


def _input(key: str, version: DatasetVersion) -> DatasetInput:
    """Return a dataset as MLflow's input: its digest there is the DVC md5 (36 characters at most fit)."""
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import DatasetInput, InputTag
    from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

    fields = ("ref", "source", "digest", "dvc_md5", "git_revision", "rows")
    source = CodeDatasetSource(tags={name: getattr(version, name) for name in fields})
    dataset = MetaDataset(source, name=version.ref, digest=(version.dvc_md5 or version.digest)[:36])
    return DatasetInput(dataset._to_mlflow_entity(), [InputTag(MLFLOW_DATASET_CONTEXT, key)])


def log_folders(client: MlflowClient, run: Run, folders: Mapping[str, Path], home: Home) -> None:
    """Log artifact folders under their names, without their tensors: the version and the store hold those."""
    with home.store.scratch() as scratch:
        for name, folder in folders.items():
            shutil.copytree(folder, scratch / name, ignore=shutil.ignore_patterns("*.safetensors"))
        client.log_artifacts(run.info.run_id, str(scratch))


def log_files(client: MlflowClient, run: Run, files: Iterable[Path]) -> None:
    """Log single files at the top of the run's artifacts."""
    for file in files:
        client.log_artifact(run.info.run_id, str(file))


def _chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]


def _allowed(name: str) -> str:
    """Return a name with what MLflow does not allow in one replaced by underscores."""
    return re.sub(r"[^\w.\- ]", "_", name)
