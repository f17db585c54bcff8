"""The folder of a version, as MLflow keeps it: the adapter, the pipeline file, the card, the lineage, the library.

It is a models-from-code pyfunc: `served.py` is the code, nothing is pickled, and `code/holdfast` is the library itself.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from holdfast.registry import tracking
from holdfast.registry.work import Work

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature

    from holdfast.home import Home
    from mlflow import MlflowClient

ADAPTER = "artifacts/adapter"
PAPERS = CARD, PIPELINE, LINEAGE = ("MODEL_CARD.md", "pipeline.yaml", "lineage.json")
_LIBRARY = Path(__file__).resolve().parents[1]
_SERVED = Path(__file__).with_name("served.py")
# What loading and predicting imports; pinned to what is installed, so that MLflow need not find out by running it.
_NEEDS = (
    "mlflow", "torch", "transformers", "tokenizers", "peft", "safetensors", "huggingface_hub", "numpy", "pandas",
    "pydantic", "PyYAML",
)  # fmt: skip


def lay_out(folder: Path, work: Work, card: str, home: Home) -> None:
    """Copy the adapter into `folder` and write the papers of the version beside it: card, pipeline file, lineage."""
    shutil.copytree(home.store.open(work.tuned.adapter), folder / "adapter")
    (folder / CARD).write_text(card, encoding="utf-8")
    resolved = yaml.safe_dump(work.pipeline.resolved(), sort_keys=False, allow_unicode=True)
    (folder / PIPELINE).write_text(resolved, encoding="utf-8")
    text = json.dumps(work.lineage.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False)
    (folder / LINEAGE).write_text(text + "\n", encoding="utf-8")


def log(client: MlflowClient, run: Run, papers: Path, work: Work, labels: Sequence[str] | None, home: Home) -> str:
    """Make the pyfunc of the laid-out folder `papers`, log it as a model of the run, and return the model's id.

    `labels` are those of the head that learned; a decoder has none.
    """
    from mlflow.entities import LoggedModelOutput

    info, training = run.info, work.pipeline.training
    model = client.create_logged_model(info.experiment_id, name="adapter", source_run_id=info.run_id)
    settings = {
        "base": work.prepared.start.base.model_dump(),
        "digest": work.tuned.adapter.digest,
        "head": work.head,
        "max_length": training.max_length,
        "precision": training.precision,
        "task": work.pipeline.task,
        "max_new_tokens": work.pipeline.learn.max_new_tokens,
    }
    with home.store.scratch() as scratch:
        _save(scratch / "model", papers, settings, _signature(work, labels), model, info.run_id)
        client.log_model_artifacts(model.model_id, str(scratch / "model"))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(info.run_id, [LoggedModelOutput(model.model_id, step=0)])
    return str(model.model_id)


def discard_others(client: MlflowClient, experiment: str, version: ModelVersion) -> None:
    """Remove the models that the run of a version has beside the version's own: a killed process left them."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    of_run = f"source_run_id = {tracking.quoted(version.run_id)}"
    for model in client.search_logged_models([experiment], of_run):
        if f"models:/{model.model_id}" != version.source:
            get_artifact_repository(model.artifact_location).delete_artifacts()
            client.delete_logged_model(model.model_id)


def _save(
    place: Path, papers: Path, settings: dict[str, Any], signature: ModelSignature, model: Any, run_id: str
) -> None:
    from mlflow.models import Model

    import mlflow

    described = Model(
        artifact_path=model.artifact_location, model_uuid=model.model_id, model_id=model.model_id, run_id=run_id
    )
    mlflow.pyfunc.save_model(
        str(place),
        python_model=str(_SERVED),
        code_paths=[str(_LIBRARY)],
        artifacts={"adapter": str(papers / "adapter")},
        model_config=settings,
        signature=signature,
        pip_requirements=requirements(),
        mlflow_model=described,
    )
    for name in PAPERS:
        shutil.copyfile(papers / name, place / name)
    for cache in sorted(place.rglob("__pycache__")):
        shutil.rmtree(cache)


def requirements() -> list[str]:
    """Return pinned requirements of a version, from what is installed (without local parts such as `+cpu`)."""
    return [f"{name}=={metadata.version(name).partition('+')[0]}" for name in _NEEDS]


def _signature(work: Work, labels: Sequence[str] | None) -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    if labels is None:
        longest = ParamSpec("max_new_tokens", DataType.long, work.pipeline.learn.max_new_tokens)
        return ModelSignature(
            inputs=Schema([ColSpec(DataType.string, "prompt")]),
            outputs=Schema([ColSpec(DataType.string, "answer")]),
            params=ParamSchema([longest]),
        )
    probabilities = [ColSpec(DataType.double, f"probability_{label}") for label in labels]
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.string, "text")]),
        outputs=Schema([ColSpec(DataType.string, "prediction"), *probabilities]),
        params=ParamSchema([ParamSpec("head", DataType.string, work.head)]),
    )
