"""What the controller may spend, in work and not in seconds, so that every run of the same tuning does the same.

A token through the model costs 1; a trained token costs 1 and what its backward pass costs: 1 for the gradients of the
activations above the lowest moving layer, in proportion, and 1 for those of the weights, in proportion to what moves
(3 where everything does). Tokens are counted as they are computed, padding included. Passes over the weights that move
are paid by the update and by the look, not by the token: `UPDATE` and `LOOK` tokens where everything moves, less in
proportion.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast import inference
from holdfast.training import depths

if TYPE_CHECKING:
    from holdfast.spec import Control
    from holdfast.training.job import Job

LEAST_ROWS = 40
# AdamW and clipping read and write about 30 bytes per weight, a token costs 2 operations per weight: they are worth
# 1,000 tokens on one kind of two-core machine, 1,500 on another. The least counts: more promises what cannot be paid.
UPDATE = 1000
# Keeping, hashing, interpolating and copying the weights of a candidate: 1,200 to 3,500 tokens' worth on the same.
LOOK = 2000
_SAMPLED = 0.9  # of the rows that could be paid: batches of a sample pad more than those of all rows
_BATCH = 32  # that of `inference.logits`
_LEAST_LOOKS = 3  # at the start model, at the end, and at one candidate


@dataclass(frozen=True)
class Plan:
    """What every update of a tuning costs, in order, what one look costs, and after which updates there is a look.

    There are no looks (`steps` is empty) where not even three can be paid.
    """

    work: tuple[int, ...]
    look: int
    steps: tuple[int, ...]
    budget: float

    def allowed(self, updates: int) -> int:
        """Return what may be spent on looks beside so many updates."""
        return int(self.budget * sum(self.work[:updates]))


def make(work: Sequence[int], lengths: Sequence[Sequence[int]], settings: Control, fixed: int = 0) -> Plan:
    """Return the plan for updates that cost `work`, given the lengths of each task's rows in tokens.

    A look costs those, padded, and `fixed`. Where not all looks can be paid there are fewer along the way, so that one
    line can still be searched.
    """
    look = fixed + sum(padded(task) for task in lengths)
    affordable = int(settings.budget * sum(work)) // look
    along = min(settings.looks, max(1, affordable - 1 - _halvings(settings)))
    steps = _spread(len(work), along) if affordable >= _LEAST_LOOKS else ()
    return Plan(tuple(work), look, steps, settings.budget)


def rows(work: Sequence[int], lengths: Sequence[Sequence[int]], settings: Control, fixed: int = 0) -> list[int]:
    """Return how many rows of each task to look at: all, or the share that pays for the fewest looks worth having.

    Those are at the start model, at two points along the way, and at the interpolations that halving tries on one line:
    rows are worth more than looks, since fewer of them make chance larger. It is never under `LEAST_ROWS`.
    """
    looks = 1 + min(2, settings.looks) + _halvings(settings)
    payable = settings.budget * sum(work) / looks - fixed
    share = max(0.0, payable) / sum(padded(task) for task in lengths)
    share = 1.0 if share >= 1 else _SAMPLED * share
    return [max(int(share * len(task)), min(len(task), LEAST_ROWS)) for task in lengths]


def padded(lengths: Sequence[int]) -> int:
    """Return the tokens that inference computes for texts of these lengths, padding included."""
    batches = inference.batches_by_length(lengths, _BATCH)
    return sum(computed(lengths[i] for i in batch) * len(batch) for batch in batches)


def computed(lengths: Iterable[int]) -> int:
    """Return the width of a batch of texts of these lengths: that of the longest, up to the next `MULTIPLE`."""
    return -(-max(lengths) // inference.MULTIPLE) * inference.MULTIPLE


def training_work(job: Job) -> list[int]:
    """Return what every update of a job costs, in order, rounded up."""
    updates = math.ceil(job.training.epochs * len(job.batches))
    per_token, per_update, found, first = cost_of_a_trained_token(job), cost_of_an_update(job), [], job.batches.epoch
    for epoch in range(math.ceil(job.training.epochs)):
        job.batches.epoch = epoch
        found += [len(batch) * computed(job.pool.lengths[i] for i in batch) for batch in job.batches]
    job.batches.epoch = first
    return [math.ceil(per_token * tokens + per_update) for tokens in found[:updates]]


def cost_of_a_trained_token(job: Job) -> float:
    """Return what training costs per token, between 1 and 3 forward passes over it."""
    encoder = job.model.encoder_parameters()
    depth = depths.of_parameters(job.model, list(encoder))
    deepest = max((depth[name] for name in job.moving if name in encoder), default=0)
    return float(1 + deepest / max(1, *depth.values()) + moved_share(job))


def cost_of_an_update(job: Job) -> float:
    """Return what the optimiser's pass costs at every update, in forward passes of a token."""
    return UPDATE * moved_share(job)


def cost_of_a_look(job: Job) -> int:
    """Return what a look costs beside its rows, in forward passes of a token: the passes over the weights that move."""
    return math.ceil(LOOK * moved_share(job))


def moved_share(job: Job) -> float:
    """Return the share of the encoder's weights that move."""
    encoder = job.model.encoder_parameters()
    moved = sum(p.numel() for name, p in encoder.items() if name in job.moving)
    return float(moved / sum(p.numel() for p in encoder.values()))


def _halvings(settings: Control) -> int:
    """Return how many interpolations of one line are tried: halving finds the best of 2^n - 1 with n."""
    return len(settings.interpolations).bit_length()


def _spread(updates: int, looks: int) -> tuple[int, ...]:
    """Return the updates after which to look: evenly spread, the last among them."""
    return tuple(sorted({max(1, round(updates * i / looks)) for i in range(1, looks + 1)}))
