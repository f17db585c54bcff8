"""Importing what the stages will need while Prefect's temporary server, begun first, starts in its own process."""

import importlib
import threading

_SERVER_BEGUN = 1.5  # seconds from calling the flow until the start of the server is well under way
_EARLY = ("mlflow", "dvc.repo", "torch")
_begun: list[threading.Timer] = []


def begin() -> None:
    """Import it soon, in a thread."""
    timer = threading.Timer(_SERVER_BEGUN, _work)
    timer.daemon = True
    _begun.append(timer)
    timer.start()


def end() -> None:
    """Return once nothing is imported beside us: what is half imported must not be used by a stage."""
    while _begun:
        timer = _begun.pop()
        timer.cancel()
        timer.join()


def _work() -> None:
    for module in _EARLY:
        importlib.import_module(module)
