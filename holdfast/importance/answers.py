"""How much each weight of a decoder matters for its answers: Fisher and Taylor importance over the answers' tokens.

An example is a prompt with its answer, and its log-probability the sum over the answer's tokens, the end-of-turn token
among them; the prompt's tokens are read, not scored. `fisher` draws every token of the answer from the model, behind
the tokens that the answer really has before it: the draws are independent and their gradients have the mean 0, so the
square of their sum estimates the sum of the tokens' Fisher informations without bias. Behind given tokens and not
behind drawn ones: inferred, and cheaper by all of generation. Means over the examples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from holdfast import inference
from holdfast.generation import encoding
from holdfast.importance import gradients
from holdfast.importance.fisher import DRAWS

if TYPE_CHECKING:
    import torch

    from holdfast.generation.encoding import Encoded
    from holdfast.importance.gradients import Batch
    from holdfast.models import Model
    from holdfast.rows import Row

_BATCH = 16
_NUMBERS = 1 << 26  # of directions at a time: 256 MiB
MEASURES = ("fisher", "empirical-fisher", "taylor")


def measure(
    name: str, model: Model, rows: Sequence[Row], max_length: int, seed: int, precision: str = "fp32"
) -> dict[str, torch.Tensor]:
    """Return one of `MEASURES` for every parameter of the network, by name."""
    encoder = encoding.Encoder(model.tokenizer, max_length)
    encoded = [encoder.pair(row["prompt"], row["answer"], number) for number, row in enumerate(rows, 1)]
    power: gradients.Power = "absolute" if name == "taylor" else "square"
    found = gradients.mean_power_of(
        model, _batches(model, encoded, seed if name == "fisher" else None), power, len(rows), precision
    )
    if name != "taylor":
        return found
    weights = dict(model.network.named_parameters())
    return {name: value * weights[name].detach().abs().cpu() for name, value in found.items()}


def _batches(model: Model, encoded: Sequence[Encoded], seed: int | None) -> Iterator[Batch]:
    """Give batches with their directions: towards the answers' own tokens or, with a seed, towards drawn ones."""
    lengths = [len(one.input_ids) for one in encoded]
    drawn = 1 if seed is None else DRAWS
    most = max(1, _NUMBERS // (drawn * max(lengths) * model.network.config.vocab_size))
    for chosen in inference.batches_by_length(lengths, min(_BATCH, most)):
        inputs = {n: t.to(model.network.device) for n, t in encoding.stack([encoded[i] for i in chosen]).items()}
        labels = inputs.pop("labels")[:, 1:]
        yield inputs, partial(_directions, labels=labels, seeds=None if seed is None else [(seed, i) for i in chosen])


def _directions(logits: torch.Tensor, labels: torch.Tensor, seeds: list[tuple[int, int]] | None) -> torch.Tensor:
    """Return the gradients of the log-probabilities of tokens at the logits [B, T, V]: [K, B, T, V]."""
    import torch
    from torch.nn.functional import one_hot

    p = logits.softmax(-1)
    scored = labels != encoding.IGNORED
    if seeds is None:
        wanted = labels.clamp(min=0).unsqueeze(0)
    else:
        wanted = torch.stack([_draw(p[b, :-1], *one) for b, one in enumerate(seeds)], 1)
    found = torch.zeros((len(wanted), *p.shape), dtype=p.dtype, device=p.device)
    for k, tokens in enumerate(wanted):
        found[k, :, :-1] = (one_hot(tokens, p.shape[-1]) - p[:, :-1]) * scored.unsqueeze(-1)
    return found / len(wanted) ** 0.5


def _draw(p: torch.Tensor, seed: int, index: int) -> torch.Tensor:
    """Return `DRAWS` tokens for every position of one example, [DRAWS, T], with its own generator."""
    import torch

    generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
    return torch.multinomial(p.cpu(), DRAWS, replacement=True, generator=generator).T.to(p.device)
