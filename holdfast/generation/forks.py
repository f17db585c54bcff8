"""Pairs of texts that begin alike, read in one row each: the common beginning once, then both ends beside each other.

A token sees the tokens before it in its own text only (an attention mask says so), at the place that it has there. The
last token of a text is not read at all, for nothing comes after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from holdfast import inference
from holdfast.generation import encoding, likelihood

if TYPE_CHECKING:
    import torch

    from holdfast.generation.likelihood import Compute
    from holdfast.models import Model

Ids = tuple[int, ...]


@dataclass(frozen=True)
class _Fork:
    """The tokens that are read, where each stands in its text, how many are common, and how many of each end follow."""

    ids: Ids
    places: Ids
    common: int
    ends: tuple[int, int]


def log_probabilities(model: Model, pairs: Sequence[tuple[Ids, Ids]], compute: Compute) -> np.ndarray:
    """Return the log-probability of each text of each pair behind its first token, float64 [pairs, 2].

    The first tokens of a pair must be the same. Where the attention of a model has a window, texts are read apart.
    """
    import torch

    if getattr(model.network.config, "sliding_window", None):
        whole = [encoding.Encoded(ids, (encoding.IGNORED, *ids[1:])) for pair in pairs for ids in pair]
        return likelihood.sums(likelihood.of_tokens(model, whole, compute)).reshape(-1, 2)
    forks = [_fork(*pair) for pair in pairs]
    found: np.ndarray = np.zeros((len(pairs), 2))
    network, precision = model.network, compute.precision
    with inference.evaluating(network), torch.inference_mode(), inference.cast_once(network, precision):
        for rows in inference.batches_by_length([len(fork.ids) for fork in forks], compute.batch):
            found[rows] = _batch(model, [pairs[i] for i in rows], [forks[i] for i in rows], compute)
    return found


def lengths(pairs: Sequence[tuple[Ids, Ids]]) -> list[int]:
    """Return how many tokens of each pair are read where its common beginning is read once."""
    return [len(_fork(*pair).ids) for pair in pairs]


def _fork(first: Ids, second: Ids) -> _Fork:
    least = min(len(first), len(second))
    common = next((i for i in range(least) if first[i] != second[i]), least)
    ends = [ids[common:-1] for ids in (first, second)]
    places = [tuple(range(common, common + len(end))) for end in ends]
    return _Fork(
        (*first[:common], *ends[0], *ends[1]),
        (*range(common), *places[0], *places[1]),
        common,
        (len(ends[0]), len(ends[1])),
    )


def _batch(model: Model, pairs: list[tuple[Ids, Ids]], forks: list[_Fork], compute: Compute) -> np.ndarray:
    import torch

    device = model.network.device
    inputs = {
        "input_ids": encoding.pad([fork.ids for fork in forks]).to(device),
        "position_ids": encoding.pad([fork.places for fork in forks]).to(device),
        "attention_mask": _mask(forks).to(device),
    }
    with inference.autocast(compute.precision):
        states = model.network.base_model(**inputs, use_cache=False).last_hidden_state
    asked = [(row, *one) for row, own in enumerate(zip(pairs, forks, strict=True)) for one in _asked(*own)]
    places = {behind: (row, column) for row, column, _, _, behind in asked}
    numbers = {behind: number for number, behind in enumerate(places)}
    predicts = torch.tensor([numbers[behind] for *_, behind in asked], device=device)
    targets = torch.tensor([token for *_, token, _ in asked], device=device)
    own = states[tuple(torch.tensor(list(places.values()), device=device).T)]
    values = likelihood.of_states(model, own, targets, compute, predicts)
    rows, sides = (torch.tensor([one[i] for one in asked]) for i in (0, 2))
    totals = torch.zeros(len(pairs), 3, dtype=values.dtype).index_put_((rows, sides), values, True)
    found: np.ndarray = (totals[:, :1] + totals[:, 1:]).numpy()
    return found


def _asked(pair: tuple[Ids, Ids], fork: _Fork) -> list[tuple[int, int, int, Ids]]:
    """Return (column of a state, 0 for the common tokens or 1 or 2 for an end's, the token asked for, those before it).

    Behind the same tokens, in whichever text, stands the same state.
    """
    common = fork.common
    found = [(i - 1, 0, pair[0][i], pair[0][:i]) for i in range(1, common)]
    for side, (ids, start) in enumerate(zip(pair, (common, common + fork.ends[0]), strict=True), 1):
        columns = [common - 1, *range(start, start + len(ids) - common - 1)]
        places = zip(columns, range(common, len(ids)), strict=False)
        found += [(column, side, ids[place], ids[:place]) for column, place in places]
    return found


def _mask(forks: list[_Fork]) -> torch.Tensor:
    """Return which token sees which, bool [rows, 1, longest, longest]; padding sees itself alone."""
    import torch

    longest = max(len(fork.ids) for fork in forks)
    seen = torch.zeros(len(forks), 1, longest, longest, dtype=torch.bool)
    for row, fork in enumerate(forks):
        split, last = fork.common + fork.ends[0], len(fork.ids)
        seen[row, 0, :last, :last] = True
        seen[row, 0, split:last, fork.common : split] = False
    eye = torch.eye(longest, dtype=torch.bool)
    return seen.tril() | eye
