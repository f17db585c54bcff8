"""Learning rates adjusted on the way, by a schedule that weighs the task's running importance against the general."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.importance.read import Importance

_NAMES = "names"


class Adjuster:
    """Keeps a running mean of squared gradients per group of the optimiser, and scales the groups' rates by it.

    `general` is the mean general importance of every encoder tensor by full name, over the entries that move
    (`general_of`); groups hold those entries alone (`training.slices`). Tensors without one (a head's) count
    in no mean; a group of such alone keeps its rate. `running` is kept in checkpoints: the mean of each group, and of
    how many updates it is one (a group that was frozen saw fewer).
    """

    def __init__(self, module: Any, options: Any, general: dict[str, float]) -> None:
        self.module, self.options, self.general = module, options, general
        self.running: dict[str, Tensor] = {}

    def before_step(self, optimizer: Any, rates: list[float]) -> None:
        """Take in the gradients of an update, and set the groups' rates: `rates`, those of the schedule, rescaled."""
        groups = optimizer.param_groups
        self._take_in(groups)
        task, sizes = self._means(groups), [self._size(group) for group in groups]
        general = [self._general(group) for group in groups]
        known = [i for i, size in enumerate(sizes) if size and int(self.running["seen"][i])]
        scales = dict.fromkeys(range(len(groups)), 1.0)
        if known:
            ours, old = ([values[i] for i in known] for values in (task, general))
            weights = [sizes[i] for i in known]
            found = self.module.adjust(_over_mean(ours, weights), _over_mean(old, weights), self.options)
            scales |= dict(zip(known, found, strict=True))
        for i, group in enumerate(groups):
            group["lr"] = rates[i] * scales[i]

    def _take_in(self, groups: list[dict[str, Any]]) -> None:
        import torch

        if not self.running:
            self.running["mean"] = torch.zeros(len(groups), dtype=torch.float64)
            self.running["seen"] = torch.zeros(len(groups), dtype=torch.int64)
        for i, group in enumerate(groups):
            gradients = {n: p.grad for n, p in zip(group[_NAMES], group["params"], strict=True) if p.grad is not None}
            known = [gradient.detach() for name, gradient in gradients.items() if name in self.general]
            size = sum(gradient.numel() for gradient in known)
            if size:
                total = sum(float(gradient.double().square().sum()) for gradient in known)
                memory = self.options.memory
                self.running["mean"][i] = memory * self.running["mean"][i] + (1 - memory) * total / size
                self.running["seen"][i] += 1

    def _means(self, groups: list[dict[str, Any]]) -> list[float]:
        """Return the running means, those of few updates not too small for having begun at 0."""
        mean, seen, memory = self.running["mean"].tolist(), self.running["seen"].tolist(), self.options.memory
        return [value / (1 - memory**count) if count else 0.0 for value, count in zip(mean, seen, strict=True)]

    def _size(self, group: dict[str, Any]) -> int:
        return sum(self._sizes(group).values())

    def _general(self, group: dict[str, Any]) -> float:
        sizes = self._sizes(group)
        size = sum(sizes.values())
        return sum(self.general[name] * own for name, own in sizes.items()) / size if size else 0.0

    def _sizes(self, group: dict[str, Any]) -> dict[str, int]:
        """Return how many entries move of each tensor of a group that has a general importance."""
        held = zip(group[_NAMES], group["params"], strict=True)
        return {name: parameter.numel() for name, parameter in held if name in self.general}


def general_of(importance: Importance, masks: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the mean general importance of every encoder tensor, of those in `masks` over the True entries alone.

    Raises `HoldfastError` where the assessment measured none, or none per weight for a tensor that moves in part.
    """
    if importance.general is None:
        raise HoldfastError("the assessment measured no general importance, and the schedule weighs against it")
    each = importance.elementwise("general") if masks else {}
    parts = {name: float(each[name][mask].double().mean()) for name, mask in masks.items()}
    return {**importance.general["tensor"], **parts}


def _over_mean(values: list[float], weights: list[int]) -> list[float]:
    mean = sum(value * weight for value, weight in zip(values, weights, strict=True)) / sum(weights)
    return [value / mean for value in values] if mean > 0 else [0.0 for _ in values]
