"""Where a process is killed: named points, and a way to have a process kill itself when it comes to one.

The library knows nothing of this: `arm` replaces a function from outside by one that counts its calls.
"""

import functools
import importlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Point:
    """The `nth` call of the function `at`, before it begins or `after` it returned; with `within`, only calls made
    inside that function are counted."""

    name: str
    at: str
    nth: int = 1
    after: bool = False
    within: str | None = None


_TRAINER = "holdfast.training.trainer.TuningTrainer"
_LOOK = "holdfast.control.watcher.Watcher._look"
_SAVE = "safetensors.torch.save_file"
_CLIENT = "mlflow.tracking.client.MlflowClient"

# In the order in which a run that is killed at each of them in turn comes to them.
OWN_WORDS = (Point("own answers half generated", "holdfast.generation.greedy._batch", nth=2),)  # of `examples: self`
TUNE = (
    Point("first step", f"{_TRAINER}.compute_loss"),
    Point("mid-epoch", f"{_TRAINER}.compute_loss", nth=6),
    Point("controller's look", "holdfast.forgetting.watch.Seen.__init__", nth=2, within=_LOOK),  # the first, half seen
    Point("look not yet noted", "holdfast.control.journal.Journal.add"),
    Point("scored on valid", f"{_TRAINER}.evaluate", after=True),
    Point("checkpoint half written", _SAVE, nth=2, within="holdfast.training.checkpoints._fill"),
    Point("checkpoint not yet in place", "holdfast.training.checkpoints._fill", after=True),
    Point("adapter half written", _SAVE, after=True, within="holdfast.adapters.write"),
    Point("adapter written", "holdfast.training.checkpoints.discard"),
    Point("checkpoints half removed", "os.unlink", nth=3, within="holdfast.training.checkpoints.discard"),
)
REGISTER = (
    Point("before the MLflow run", "holdfast.registry.runs._open"),
    Point("after the MLflow run", "holdfast.registry.runs._open", after=True),
    Point("run half logged", f"{_CLIENT}.log_inputs", after=True),
    Point("model half logged", f"{_CLIENT}.log_model_artifacts"),
    Point("before the version", f"{_CLIENT}.create_model_version"),
    Point("after the version", f"{_CLIENT}.create_model_version", after=True),
    Point("before the ledger", "holdfast.registry.ledger.Ledger.promote"),
    Point("between ledger and alias", "holdfast.registry.ledger.Ledger.promote", after=True),
    Point("alias half set", f"{_CLIENT}.set_registered_model_alias", after=True),
)
# What only the whole flow passes through, with Prefect: before the tuning, between it and the registration, at the end.
BEFORE = (
    Point("data imported", "holdfast.versioning.repository._import", after=True),
    Point("data validated", "holdfast.validation.validate.validate", after=True),
    # Prefect has opened the file of a stage's record, which is empty.
    Point("result half written", "builtins.open", after=True, within="prefect.filesystems.LocalFileSystem.write_path"),
)
BETWEEN = (Point("scores half written", "holdfast.forgetting.evaluate._write_items"),)
END = (Point("report", "holdfast.report.write"),)
ALL = (*BEFORE, *OWN_WORDS, *TUNE, *BETWEEN, *REGISTER, *END)


def arm(point: Point, then: Callable[[], None] = lambda: os.kill(os.getpid(), signal.SIGKILL)) -> None:
    """Have this process kill itself at `point`, or do what else is given `then`; it goes on where it outlives that.

    Raises `LookupError` where there is no such function.
    """
    inside = [point.within is None]
    if point.within:
        _replace(point.within, lambda original: _entered(original, inside))
    _replace(point.at, lambda original: _deadly(original, point, inside, then))


def _entered(original: Callable, inside: list[bool]) -> Callable:
    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        inside[0] = True
        try:
            return original(*args, **kwargs)
        finally:
            inside[0] = False

    return call


def _deadly(original: Callable, point: Point, inside: list[bool], then: Callable[[], None]) -> Callable:
    calls = 0

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += inside[0]
        if not inside[0] or calls != point.nth:
            return original(*args, **kwargs)
        done = original(*args, **kwargs) if point.after else None
        then()
        return done if point.after else original(*args, **kwargs)

    return call


def _replace(dotted: str, by: Callable[[Callable], Callable]) -> None:
    owner, name = _owner(dotted)
    setattr(owner, name, by(getattr(owner, name)))


def function(dotted: str) -> Callable:
    """Return the function of a dotted name; raise `LookupError` where there is none."""
    owner, name = _owner(dotted)
    found: Callable = getattr(owner, name)
    return found


def _owner(dotted: str) -> tuple[Any, str]:
    """Return the module or class that holds the function, and the function's name."""
    *path, name = dotted.split(".")
    for depth in range(len(path), 0, -1):
        try:
            owner: Any = importlib.import_module(".".join(path[:depth]))
        except ModuleNotFoundError:
            continue
        for part in path[depth:]:
            owner = getattr(owner, part)
        if hasattr(owner, name):
            return owner, name
    raise LookupError(f"there is no function {dotted}")
