"""Several processes that tune one model together, started by `accelerate launch`: each takes its share of every batch.

Every process draws the whole batch and runs its own part of the rows; what each contributes is added up, so that an
update is that of one process with the whole batch. `training.batch` is the share of one process. All have the same
weights all along, look at the same validation rows, and only the first writes checkpoints.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor, nn

Part = TypeVar("Part")


def count() -> int:
    """Return how many processes tune together; 1 where nobody launched several."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def number() -> int:
    """Return which of them this is, from 0."""
    return int(os.environ.get("RANK", "0"))


def own(parts: Sequence[Part]) -> list[Part]:
    """Return those of a batch's parts that this process takes; of a small batch there may be none."""
    return list(parts[number() :: count()])


def wait() -> None:
    """Wait until every process is here."""
    import torch.distributed as together

    if count() > 1 and together.is_initialized():
        together.barrier()


@contextmanager
def in_turn() -> Iterator[None]:
    """Let one process after another through the block."""
    for turn in range(count()):
        if turn == number():
            yield
        wait()


def add_up(numbers: dict[str, float]) -> dict[str, float]:
    """Return the sums over all processes of numbers that stand under the same names in some of them."""
    import torch.distributed as together

    if count() == 1:
        return numbers
    found: list[dict[str, float]] = [{} for _ in range(count())]
    together.all_gather_object(found, numbers)
    names = dict.fromkeys(name for one in found for name in one)
    return {name: sum(one.get(name, 0.0) for one in found) for name in names}


def total(value: Tensor) -> Tensor:
    """Return the sum of a number over all processes."""
    import torch.distributed as together

    if count() > 1:
        together.all_reduce(value)
    return value


def add_up_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Replace every gradient by its sum over all processes; one that nobody has stays away."""
    import torch
    import torch.distributed as together

    if count() == 1:
        return
    moving = [parameter for parameter in parameters if parameter.requires_grad]
    there = torch.tensor([float(p.grad is not None) for p in moving], device=moving[0].device)
    together.all_reduce(there)
    for parameter, someone in zip(moving, there.tolist(), strict=True):
        if someone:
            gradient: Tensor = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            together.all_reduce(gradient)
            parameter.grad = gradient
