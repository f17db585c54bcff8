"""Order by importance: the one place that says what `task-over-general` means.

Both importances are first divided by their own mean, because their scales differ (a confident model has a small Fisher
information everywhere). Then `task` ranks by t. For parts of the encoder `task-over-general` ranks by the ratio t / g:
parts that matter to the task more than to what is to be kept. For single weights, whose g is often exactly 0 (an
embedding row of a word that the old data lacks), it ranks by t / (g + 1): the 1, an average weight's general
importance, keeps two negligible numbers from making a large ratio. Inferred; no source gives a formula.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from holdfast.errors import BadInput

if TYPE_CHECKING:
    import torch

    from holdfast.importance.read import Importance

By = Literal["task", "task-over-general"]
_SMALLEST = 1e-12


def best(importance: Importance | None, level: str, names: list[str], count: int, by: By, key: str) -> list[str]:
    """Return the `count` names of a level (`head` or `layer`) that rank highest, best first; ties in the given order.

    Raises `BadInput` at `key` when there is no importance of that level or `count` leaves nothing out.
    """
    if count >= len(names):
        expected = f"fewer than {len(names)}" if names else "an architecture that has them"
        raise BadInput(f"{count} of {len(names)} {level}s leaves none out", key=key, expected=expected)
    if importance is None or not importance.task[level]:
        raise BadInput(f"there is no importance per {level} to rank by", key=key, remedy="Name them by hand.")
    task = [importance.task[level][name] for name in names]
    general = [importance.general[level][name] for name in names] if importance.general else None
    scores = _scores(task, general, by)
    return sorted(names, key=lambda name: -scores[names.index(name)])[:count]


def _scores(task: list[float], general: list[float] | None, by: By) -> list[float]:
    scaled = _over_mean(task)
    if by == "task" or general is None:
        return scaled
    return [t / max(g, _SMALLEST) for t, g in zip(scaled, _over_mean(general), strict=True)]


def _over_mean(values: list[float]) -> list[float]:
    mean = sum(values) / len(values)
    return [value / mean for value in values] if mean > 0 else [0.0 for _ in values]


def tensors(importance: Importance, by: By) -> dict[str, torch.Tensor]:
    """Return one score per weight, by full parameter names; the mean of the module's formula is over all weights."""
    task = _tensors_over_mean(importance.elementwise("task"))
    if by == "task" or importance.general is None:
        return task
    general = _tensors_over_mean(importance.elementwise("general"))
    return {name: score / (general[name] + 1.0) for name, score in task.items()}


def _tensors_over_mean(values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    total = sum(float(value.double().sum()) for value in values.values())
    mean = total / sum(value.numel() for value in values.values())
    return {name: value / mean for name, value in values.items()} if mean > 0 else values


def note(importance: Importance | None, what: str, by: By) -> str:
    """Return the sentence of the plan that says how `what` was ranked."""
    if importance is None or (importance.general is None and by != "task"):
        return f"{what} ranked by task importance alone: nothing remembered has training data to measure general by"
    return f"{what} ranked by {by} ({importance.measure}, {importance.examples} examples)"
