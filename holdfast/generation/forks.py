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
    asked = [_asked(*one) for one in zip(pairs, forks, strict=True)]
    rows = torch.tensor([row for row, own in enumerate(asked) for _ in own], device=device)
    columns, targets, sides = (torch.tensor([one[i] for own in asked for one in own], device=device) for i in range(3))
    values = likelihood.of_states(model, states[rows, columns], targets, compute)
    totals = torch.zeros(len(pairs), 3, dtype=values.dtype).index_put_((rows.cpu(), sides.cpu()), values, True)
    found: np.ndarray = (totals[:, :1] + totals[:, 1:]).numpy()
    return found


def _asked(pair: tuple[Ids, Ids], fork: _Fork) -> list[tuple[int, int, int]]:
    """Return (column of the state, token that it is asked for, 0 for the common tokens or 1 or 2 for an end's)."""
    common = fork.common
    found = [(i - 1, pair[0][i], 0) for i in range(1, common)]
    for side, (ids, start) in enumerate(zip(pair, (common, common + fork.ends[0]), strict=True), 1):
        columns = [common - 1, *range(start, start + len(ids) - common - 1)]
        found += [(column, token, side) for column, token in zip(columns, ids[common:], strict=False)]
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
