"""Circuits round by round, with greedy pruning: Algorithm 1 of CD-T, and a plainer search that does better here.

A round scores the heads outside the circuit, adds the highest, and prunes: while some head's removal raises the margin,
the one that raises it most goes, for good. Discovery ends when the circuit is about as good as the network, or a round
made it no better; that round is taken back (inferred).

`aim: heads` is Algorithm 1: the first round aims at the answer, each later one at the heads that the last one added,
and only heads under one of these count. Where nothing lies below (the best heads may be in the first layer), or that
helped no more, a round aims at the answer again, where the paper's would end (inferred). `aim: answer`: every round
aims at the answer, which found the more faithful circuit in MiniLM: F 0.954 with 16 heads, against 0.804 with 24
(`benchmarks/circuits/real.py`; `docs/circuits.md`, What was measured).

Scores towards heads are divided by the mean absolute score of their layer where `normalise` says so: the paper divides
by the layer's average, its code by the sum, which can change the sign. Scores towards the answer are left as they are:
they are all in one unit, the margin's (inferred; in MiniLM F of the 16 highest is 0.954, divided 0.519, same page).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from holdfast.circuits.relevance import Relevance
    from holdfast.circuits.settings import Circuit

Head = tuple[int, int]
Faithful = Callable[[list[Head]], float]
_TINY = 1e-12


@dataclass(frozen=True)
class Round:
    """One round: what it aimed at (empty: the answer), what it added and pruned, and the faithfulness after it."""

    targets: list[Head]
    added: list[Head]
    pruned: list[Head]
    faithfulness: float
    kept: bool


@dataclass(frozen=True)
class Found:
    """A circuit, its heads in the order in which they were added, and the rounds that found it."""

    heads: list[Head]
    rounds: list[Round] = field(default_factory=list)


def discover(relevance: Relevance, faithful: Faithful, settings: Circuit) -> Found:
    """Return the circuit; `faithful(heads)` is F of a circuit on the examples."""
    layers, heads = relevance.answer.shape
    batch = max(1, math.ceil(settings.top * layers * heads))
    circuit: list[Head] = []
    targets: list[Head] = []
    rounds: list[Round] = []
    best = 0.0
    while len(rounds) < settings.rounds:
        scores = towards(relevance, targets) if targets else relevance.answer
        spent = [*circuit, *(head for one in rounds for head in one.pruned)]
        added = highest(scores, spent, batch, settings.normalise and bool(targets))
        if added:
            grown, pruned, reached = prune([*circuit, *added], faithful)
            rounds.append(Round(targets, added, pruned, reached, reached > best))
        if added and reached > best:
            circuit, best = grown, reached
            targets = [head for head in added if head in grown] if settings.aim == "heads" else []
            if abs(reached - 1) < settings.close:
                break
        elif targets:
            targets = []
        else:
            break
    return Found(circuit, rounds)


def towards(relevance: Relevance, targets: list[Head]) -> torch.Tensor:
    """Return sum over targets t of R(s, t), [layers, heads]; NaN for heads that lie under none of them."""
    total = sum(relevance.between[:, :, layer, head] for layer, head in targets)
    assert not isinstance(total, int)
    found = total.clone()
    found[max(layer for layer, _ in targets) :] = float("nan")
    return found


def highest(scores: torch.Tensor, taken: list[Head], count: int, normalise: bool) -> list[Head]:
    """Return up to `count` heads with the highest positive score, best first, those `taken` and NaN left out."""
    if normalise:
        scores = scores / scores.abs().mean(1, keepdim=True).clamp_min(_TINY)
    width = scores.shape[1]
    order = sorted(range(scores.numel()), key=lambda i: -_or_least(float(scores[i // width, i % width])))
    free = [(i // width, i % width) for i in order if (i // width, i % width) not in taken]
    return [head for head in free if float(scores[head]) > 0][:count]


def _or_least(score: float) -> float:
    return score if score == score else -math.inf


def prune(heads: list[Head], faithful: Faithful) -> tuple[list[Head], list[Head], float]:
    """Return the heads left, those dropped, and F: one at a time, the head whose removal raises F most is dropped."""
    left, dropped, reached = list(heads), [], faithful(heads)
    while len(left) > 1:
        from_above = sorted(left, reverse=True)  # two circuits that differ high up have the layers below in common
        without = {head: faithful([other for other in left if other != head]) for head in from_above}
        worst = max(left, key=lambda head: without[head])
        if without[worst] <= reached:
            break
        left.remove(worst)
        dropped.append(worst)
        reached = without[worst]
    return left, dropped, reached


def ranking(found: Found, relevance: Relevance) -> list[Head]:
    """Return every head: the circuit's as they were added, then the others by their relevance to the answer."""
    layers, heads = relevance.answer.shape
    rest = [(layer, head) for layer in range(layers) for head in range(heads) if (layer, head) not in found.heads]
    return [*found.heads, *sorted(rest, key=lambda head: -float(relevance.answer[head]))]
