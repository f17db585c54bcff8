"""A tuning of the whole encoder with a gate per weight: w = w0 + z d (diff pruning, arXiv 2012.07463).

z = min(1, max(0, s (r - l) + l)), s = sigmoid(log u - log(1 - u) + a), u uniform on (0, 1), l = -1.5, r = 1.5: the hard
concrete distribution, by which a gate is open (z > 0) with probability sigmoid(a - log(-l / r)) = sigmoid(a). Every a
begins at 5, every d at 0. Imports torch, so it is imported inside functions only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from holdfast.training import batches, pool, randomness, tune

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.models import Model
    from holdfast.training.job import Given

LOW, HIGH, FIRST = -1.5, 1.5, 5.0
_CERTAIN = 1e-6


def gate(a: Tensor, u: Tensor) -> Tensor:
    """Return z of the logits `a` and the uniform numbers `u`, of one shape."""
    return _stretched(torch.sigmoid(u.log() - (1 - u).log() + a))


def expected(a: Tensor) -> Tensor:
    """Return z at the middle of its distribution, which is what a gate counts for once learned."""
    return _stretched(torch.sigmoid(a))


def open_probability(a: Tensor) -> Tensor:
    """Return the probability that a gate is not 0."""
    return torch.sigmoid(a - math.log(-LOW / HIGH))


def _stretched(s: Tensor) -> Tensor:
    return (s * (HIGH - LOW) + LOW).clamp(0, 1)


@dataclass(frozen=True)
class Learned:
    """What a gated tuning gives, by full names: z d and w0 + z d of every encoder weight, and the head's weights."""

    changes: dict[str, Tensor]
    weights: dict[str, Tensor]
    head: dict[str, Tensor]


def learn(given: Given, epochs: float, penalty: float, gate_rate: float) -> Learned:
    """Return what so many epochs of plain cross entropy with gates give."""
    recipe, training = given.recipe, given.recipe.training
    with randomness.reproducible(training.seed):
        model = tune.start_model(given)
        rows_of = pool.build(model, given.validated.datasets, recipe, given.remember, given.home, given.start)
        draw = batches.draws(recipe.examples, [example.task for example in rows_of.examples], training.seed)
        sampler = batches.EpochBatches(draw, rows_of.lengths, training.batch, training.seed)
        gated = _Gated(model, training.learning_rate, gate_rate, penalty)
        left = math.ceil(epochs * len(sampler))
        while left > 0:
            for positions in list(sampler)[:left]:
                gated.step(rows_of, positions)
            left -= len(sampler)
            sampler.epoch += 1
        return gated.result()


class _Gated:
    """The encoder's start weights, their changes d and gates' logits a, and one optimiser for these and the head."""

    def __init__(self, model: Model, rate: float, gate_rate: float, penalty: float) -> None:
        self.model, self.penalty = model, penalty
        self.start = {name: p.detach() for name, p in model.encoder_parameters().items()}
        self.d = {name: torch.zeros_like(value, requires_grad=True) for name, value in self.start.items()}
        self.a = {name: torch.full_like(value, FIRST, requires_grad=True) for name, value in self.start.items()}
        self.count = sum(value.numel() for value in self.start.values())
        head = list(model.head_parameters().values())
        groups: list[dict[str, Any]] = [{"params": [*self.d.values(), *head], "lr": rate}]
        groups.append({"params": list(self.a.values()), "lr": gate_rate})
        self.optimizer = torch.optim.AdamW(groups, weight_decay=0.0)

    def step(self, rows_of: pool.Pool, positions: list[int]) -> None:
        """Make one update on rows of the pool."""
        self.model.network.train()
        values = {}
        for name, value in self.start.items():
            u = torch.rand_like(value).clamp(_CERTAIN, 1 - _CERTAIN)
            values[name] = value + gate(self.a[name], u) * self.d[name]
        opened = sum(open_probability(a).sum() for a in self.a.values()) / self.count
        self.optimizer.zero_grad()
        (self._loss(values, rows_of, positions) + self.penalty * opened).backward()
        self.optimizer.step()

    def _loss(self, values: dict[str, Tensor], rows_of: pool.Pool, positions: list[int]) -> Tensor:
        """Return the mean cross entropy of the batch, each row by its own head, or of the tokens of answers."""
        network = self.model.network
        inputs = {n: t.to(network.device) for n, t in batches.collate(self.model, rows_of, positions).items()}
        order = inputs.pop("positions").tolist()
        if self.model.generates:
            loss: Tensor = torch.func.functional_call(network, values, (), inputs).loss
            return loss
        total, place = torch.zeros((), device=network.device), self.model.head
        for head, held in rows_of.by_head(order).items():
            self.model.use_head(head)
            taken = [order.index(position) for position in held]
            some = {name: tensor[taken] for name, tensor in inputs.items()}
            labels = torch.tensor([rows_of.examples[position].label for position in held], device=network.device)
            logits = torch.func.functional_call(network, values, (), some).logits
            total = total + torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
        self.model.use_head(place)
        return total / len(order)

    def result(self) -> Learned:
        """Return what was learned."""
        with torch.no_grad():
            changes = {name: expected(self.a[name]) * d for name, d in self.d.items()}
            weights = {name: (self.start[name] + change).cpu() for name, change in changes.items()}
        head = {name: p.detach().cpu().clone() for name, p in self.model.head_parameters().items()}
        return Learned({name: change.cpu() for name, change in changes.items()}, weights, head)
