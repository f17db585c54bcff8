"""Probes of what a decoder still knows: likelihood of general text, minimal pairs, divergence from the start model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from holdfast.errors import BadInput
from holdfast.generation import encoding, forks, likelihood
from holdfast.generation.likelihood import Compute

if TYPE_CHECKING:
    from holdfast.generation.encoding import Encoded
    from holdfast.models import Model


@dataclass(frozen=True)
class Drift:
    """Means per scored token, in nats: KL(start || tuned) and both models' entropies; `tokens` were scored."""

    kl: float
    entropy_start: float
    entropy_tuned: float
    tokens: int


def windows(model: Model, text: str, size: int = 256) -> list[Encoded]:
    """Return a long text in consecutive windows of at most `size` tokens, each behind BOS (or EOS), all scored once."""
    encoder = encoding.Encoder(model.tokenizer)
    ids = encoder.text(text).input_ids[1:]
    if not ids:
        raise BadInput("the text is empty")
    return [encoder.scored_text(ids[first : first + size - 1]) for first in range(0, len(ids), size - 1)]


def text_nll(model: Model, text: str, size: int = 256, compute: Compute = Compute()) -> float:
    """Return the negative log-likelihood per token of a text in windows of `size` tokens, in nats."""
    return likelihood.nll(likelihood.of_tokens(model, windows(model, text, size), compute))


def minimal_pairs(model: Model, pairs: Sequence[tuple[str, str]], compute: Compute = Compute()) -> np.ndarray:
    """Return whether each pair's first (acceptable) sentence has the higher probability, bool [pairs].

    Sums of log-probabilities as in BLiMP (Warstadt et al. 2020); a tie is wrong. The mean is the accuracy.
    """
    totals = forks.log_probabilities(model, encoded_pairs(model, pairs), compute)
    better: np.ndarray = totals[:, 0] > totals[:, 1]
    return better


def encoded_pairs(model: Model, pairs: Sequence[tuple[str, str]]) -> list[tuple[forks.Ids, forks.Ids]]:
    """Return both texts of each pair as the model reads them."""
    encoder = encoding.Encoder(model.tokenizer)
    return [(encoder.text(good).input_ids, encoder.text(bad).input_ids) for good, bad in pairs]


def drift(start: Model, tuned: Model, encoded: Sequence[Encoded], compute: Compute = Compute()) -> Drift:
    """Return how far `tuned` has moved from `start` on the scored tokens' contexts, exact over the vocabulary.

    Forward KL, mean over all tokens of sum_v p_start(v) (log p_start(v) - log p_tuned(v)) (RL's Razor, arXiv
    2509.04259). Both models must have the same tokenizer. Raises `BadInput` where nothing is scored.
    """
    import torch

    totals: np.ndarray = np.zeros(4)
    with torch.inference_mode():
        both = zip(
            likelihood.scored_states(start, encoded, compute),
            likelihood.scored_states(tuned, encoded, compute),
            strict=True,
        )
        for (_, first, _), (_, second, _) in both:
            for old, new in zip(first.split(compute.chunk), second.split(compute.chunk), strict=True):
                p, q = likelihood.log_softmax(start, old, compute), likelihood.log_softmax(tuned, new, compute)
                kl = (p.exp() * (p - q)).double().sum()
                entropies = [-(x.exp() * x).double().sum().item() for x in (p, q)]
                totals += np.array([kl.item(), *entropies, len(p)])
    if not totals[3]:
        raise BadInput("no token is scored, so nothing can be said about drift")
    kl, before, after = totals[:3] / totals[3]
    return Drift(float(kl), float(before), float(after), int(totals[3]))
