"""MLflow's aliases follow the ledger: set after it, read back, and put right whenever someone looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError
from holdfast.registry import tracking
from holdfast.registry.ledger import Ledger

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous", "challenger"
_TRIES = 5


def reconcile(client: MlflowClient, book: Ledger, name: str) -> None:
    """Make MLflow's `champion` and `previous` say what the ledger says, and read them back.

    Someone may promote in between, so it is repeated until both agree. Raises `HoldfastError` when they will not, or
    when MLflow does not have the version that the ledger names.
    """
    from mlflow.exceptions import MlflowException

    for _ in range(_TRIES):
        wanted = _wanted(book, name)
        try:
            if current(client, name) == wanted == _wanted(book, name):
                return
            _set(client, name, wanted)
        except MlflowException as error:
            raise HoldfastError(
                f"the ledger says that version {wanted.get(CHAMPION)} is champion of `{name}`, but MLflow does not "
                f"take the alias: {error.message}"
            ) from error
    raise HoldfastError(f"MLflow's aliases of `{name}` do not stay as the ledger has them; something else sets them")


def _wanted(book: Ledger, name: str) -> dict[str, str]:
    standing = book.standing(name)
    return {alias: entry.version for alias, entry in zip((CHAMPION, PREVIOUS), reversed(standing), strict=False)}


def current(client: MlflowClient, name: str) -> dict[str, str]:
    """Return MLflow's `champion` and `previous` of `name`, those that are set."""
    models = client.search_registered_models(f"name={tracking.quoted(name)}")
    found = dict(models[0].aliases) if models else {}
    return {alias: str(version) for alias, version in found.items() if alias in (CHAMPION, PREVIOUS)}


def _set(client: MlflowClient, name: str, wanted: dict[str, str]) -> None:
    for alias in {*current(client, name)} - {*wanted}:
        client.delete_registered_model_alias(name, alias)
    for alias, version in wanted.items():
        client.set_registered_model_alias(name, alias, version)


def challenge(client: MlflowClient, name: str, version: str, refused: bool) -> None:
    """Let `challenger` name the version refused last: set it on a refusal, take it from one that is promoted."""
    found = {alias: str(number) for alias, number in client.get_registered_model(name).aliases.items()}
    if refused and found.get(CHAMPION) != version:
        client.set_registered_model_alias(name, CHALLENGER, version)
    elif not refused and found.get(CHALLENGER) == version:
        client.delete_registered_model_alias(name, CHALLENGER)
