"""The chosen schedules put together: parameter groups, a learning rate per group and step, what is frozen when."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from holdfast import choices
from holdfast.schedules import plain

if TYPE_CHECKING:
    import torch
    from torch import nn

    from holdfast.forgetting.watch import Look


class Schedule:
    """The time shape, the scale per depth and the freezing of a recipe's `schedule`, given each parameter's depth."""

    def __init__(self, chosen: choices.Choices, depths: dict[str, int]) -> None:
        loaded = [(choices.load("schedules", n), choices.options("schedules", n, v)) for n, v in chosen.items()]
        self._shape: tuple[Any, Any] = (plain, plain.Options())
        for module, options in loaded:
            if hasattr(module, "factor"):
                self._shape = (module, options)
        self._scales = [pair for pair in loaded if hasattr(pair[0], "scale")]
        self._ends = [pair for pair in loaded if hasattr(pair[0], "share")]
        self._freezers = [pair for pair in loaded if hasattr(pair[0], "frozen")]
        self.adjusting: tuple[Any, Any] | None = next((pair for pair in loaded if hasattr(pair[0], "adjust")), None)
        self.depths = depths
        self._order = {depth: order for order, depth in enumerate(sorted(set(depths.values())))}

    def factor(self, step: int, total: int) -> float:
        """Return what every rate is multiplied by at `step` (0-based) of `total`."""
        module, options = self._shape
        return float(module.factor(step, total, options))

    def scale(self, depth: int) -> float:
        """Return what the rates at `depth` are multiplied by throughout."""
        scale = 1.0
        for module, options in self._scales:
            scale *= module.scale(depth, options)
        return scale

    @property
    def draws_back(self) -> bool:
        """Say whether the tuned model is drawn back towards the start model in the end."""
        return bool(self._ends)

    def share(self, look: Callable[[float], Look]) -> float:
        """Return how far of the way from the start model the tuned one lies in the end."""
        ((module, options),) = self._ends
        return float(module.share(look, options))

    def frozen(self, epoch: int) -> set[str]:
        """Return the names of the parameters that do not move yet in `epoch` (0-based)."""
        waiting = {
            depth
            for depth, order in self._order.items()
            if any(module.frozen(order, epoch, options) for module, options in self._freezers)
        }
        return {name for name, depth in self.depths.items() if depth in waiting}


def optimizer(
    moving: dict[str, nn.Parameter], schedule: Schedule, rate: float, decay: float, decayed: set[str]
) -> torch.optim.AdamW:
    """Return AdamW over the moving parameters, one group per depth and kind of decay, topmost groups first.

    Only names in `decayed` are decayed. Groups carry their parameters' `names`.
    """
    import torch

    groups: dict[tuple[int, bool], list[str]] = {}
    for name in moving:
        groups.setdefault((schedule.depths[name], name in decayed), []).append(name)
    return torch.optim.AdamW(
        [
            {
                "params": [moving[name] for name in names],
                "names": names,
                "lr": rate * schedule.scale(depth),
                "weight_decay": decay if decays else 0.0,
            }
            for (depth, decays), names in sorted(groups.items())
        ],
        lr=rate,
        fused=True,
    )


def scheduler(optimizer: Any, schedule: Schedule, total: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Return the scheduler that multiplies every group's rate by the schedule's factor of `total` steps."""
    import torch

    shape: Callable[[int], float] = lambda step: schedule.factor(step, total)  # noqa: E731
    return torch.optim.lr_scheduler.LambdaLR(optimizer, shape)
