"""MLflow's client for a home: its addresses, its experiments, and nothing outside the home.

MLflow's SQL stores reach for the process's global addresses in places, whatever a client was given, so those are set
too; the environment, which `mlflow.set_tracking_uri` writes to and `Home` reads, is left as it was.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast import parts
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.home import Home
    from mlflow import MlflowClient

_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "MLFLOW_UV_AUTO_DETECT": "false",  # else a `uv.lock` in the current folder would become part of a version
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
_ADDRESSES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")


def client(home: Home) -> MlflowClient:
    """Return a client of the home's MLflow: `MLFLOW_TRACKING_URI` when set, else SQLite inside the home.

    Sets MLflow's global addresses, so that `mlflow.pyfunc.load_model` finds the same models.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import mlflow

    for logger in ("mlflow", "alembic"):
        logging.getLogger(logger).setLevel(max(logging.WARNING, logging.getLogger(logger).level))
    _make_database(home)
    registry = os.environ.get("MLFLOW_REGISTRY_URI") or home.tracking_uri
    with _environment_kept():
        mlflow.set_tracking_uri(home.tracking_uri)
        mlflow.set_registry_uri(registry)
    return mlflow.MlflowClient(home.tracking_uri, registry)


def _make_database(home: Home) -> None:
    """Make the home's SQLite database, where it is missing, beside its place, and move it there.

    MLflow's own way makes it in place by hundreds of migrations, and one that was killed half-way can never be used.
    """
    from sqlalchemy import make_url

    place = Path((home.tracking_uri.startswith("sqlite:///") and make_url(home.tracking_uri).database) or "/")
    if place.exists():
        return
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

    with parts.making(place.parent) as part:
        made = part / place.name
        engine = create_sqlalchemy_engine(f"sqlite:///{made}")
        _initialize_tables(engine)
        engine.dispose()
        with suppress(FileExistsError):  # another process was quicker
            os.link(made, place)


@contextmanager
def _environment_kept() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _ADDRESSES}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def experiment(mlflow: MlflowClient, name: str, home: Home) -> str:
    """Return the id of the experiment `name`, made where missing; its artifacts lie in the home or with a server."""
    from mlflow.exceptions import MlflowException

    found = mlflow.get_experiment_by_name(name)
    if found is not None:
        if found.lifecycle_stage == "deleted":
            raise HoldfastError(f"the MLflow experiment `{name}` is deleted: restore it, or rename the pipeline")
        return str(found.experiment_id)
    place = None if home.tracking_uri.startswith("http") else (home.path / "mlartifacts" / name).as_uri()
    try:
        return str(mlflow.create_experiment(name, artifact_location=place))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return str(mlflow.get_experiment_by_name(name).experiment_id)  # type: ignore[union-attr]


def address(home: Home) -> str:
    """Return MLflow's address as it may be shown: with a password, if it has one, made unreadable."""
    from sqlalchemy import make_url

    return make_url(home.tracking_uri).render_as_string(hide_password=True)


def quoted(value: Any) -> str:
    """Return a value as a string in MLflow's filters. Raises `ValueError` where it cannot be quoted."""
    text = str(value)
    if "'" in text:
        raise ValueError(f"cannot be quoted for MLflow: {text}")
    return f"'{text}'"
