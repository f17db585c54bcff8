"""Multiple choice by likelihood: each prompt is read once, and its keys and values serve all of its options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from holdfast import inference
from holdfast.errors import BadInput
from holdfast.generation import encoding, likelihood
from holdfast.generation.likelihood import Compute

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.models import Model

Normalise = Literal["none", "tokens", "characters"]


def choose(
    model: Model,
    prompts: Sequence[str],
    options: Sequence[Sequence[str]],
    normalise: Normalise = "none",
    compute: Compute = Compute(),
) -> list[int]:
    """Return the index of each prompt's most likely option, the first of equals; see `scores` for `normalise`."""
    return [int(np.argmax(values)) for values in scores(model, prompts, options, normalise, compute)]


def scores(
    model: Model,
    prompts: Sequence[str],
    options: Sequence[Sequence[str]],
    normalise: Normalise = "none",
    compute: Compute = Compute(),
) -> list[np.ndarray]:
    """Return the log-probability of each option after its prompt, float64 [options], the end-of-turn token not counted.

    `normalise` divides it by the option's number of `tokens`, or of `characters`, so that long options are not at a
    disadvantage. Raises `BadInput` for a prompt without options and for an option without tokens.
    """
    import torch

    encoder = encoding.Encoder(model.tokenizer)
    before = [encoder.prompt(prompt) for prompt in prompts]
    said = [[encoder.option(option) for option in mine] for mine in options]
    for row, mine in enumerate(said, 1):
        if not mine or not all(mine):
            raise BadInput("an option is empty, or there is none", row=row, key="choices")
    found: list[np.ndarray] = [np.zeros(0)] * len(prompts)
    with (
        inference.evaluating(model.network),
        torch.inference_mode(),
        inference.cast_once(model.network, compute.precision),
    ):
        for rows in inference.batches_by_length([len(ids) for ids in before], compute.batch):
            totals = _batch(model, [before[i] for i in rows], [said[i] for i in rows], compute)
            for row, values in zip(rows, totals, strict=True):
                found[row] = values / _lengths(said[row], options[row], normalise)
    return found


def _lengths(said: list[list[int]], options: Sequence[str], normalise: Normalise) -> np.ndarray:
    if normalise == "none":
        return np.ones(len(said))
    lengths: np.ndarray = np.array([len(one) for one in (said if normalise == "tokens" else options)], float)
    return lengths


def _batch(model: Model, before: list[list[int]], said: list[list[list[int]]], compute: Compute) -> list[np.ndarray]:
    """Return the sums of every option of a few prompts."""
    flat = [(i, option) for i, mine in enumerate(said) for option in mine]
    states = _states(model, before, [i for i, _ in flat], [option for _, option in flat], compute)
    ids = encoding.pad([option for _, option in flat], filler=encoding.IGNORED).to(states.device)
    real = ids != encoding.IGNORED
    values = likelihood.of_states(model, states[real], ids[real], compute)
    parts = values.split([len(option) for _, option in flat])
    totals = iter([float(part.sum()) for part in parts])
    return [np.array([next(totals) for _ in mine]) for mine in said]


def _states(
    model: Model, before: list[list[int]], owner: list[int], options: list[list[int]], compute: Compute
) -> Tensor:
    """Return the hidden states that predict each option's tokens, [options, longest, hidden].

    The prompts, padded on the left, are read once; then every option but its last token, behind its prompt's keys.
    """
    import torch

    encoder, device = model.network.base_model, model.network.device
    inputs = {name: tensor.to(device) for name, tensor in encoding.inputs(before, side="left").items()}
    index = torch.tensor(owner, device=device)
    with inference.autocast(compute.precision):
        output: Any = encoder(**inputs, use_cache=True)
        first = output.last_hidden_state[index, -1:]
        if max(map(len, options)) == 1:
            return first
        tails = {name: tensor.to(device) for name, tensor in encoding.inputs([ids[:-1] for ids in options]).items()}
        mask = torch.cat([inputs["attention_mask"][index], tails["attention_mask"]], 1)
        cache = output.past_key_values
        cache.batch_select_indices(index)
        later = encoder(
            input_ids=tails["input_ids"],
            attention_mask=mask,
            position_ids=encoding.positions(mask)[:, inputs["input_ids"].shape[1] :],
            past_key_values=cache,
            use_cache=True,
        )
        return torch.cat([first, later.last_hidden_state], 1)
