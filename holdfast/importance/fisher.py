"""The exact diagonal of the Fisher information, per example, in eval mode, in full precision unless told otherwise.

`true`: F = E_x E_{y~p(y|x)} [(d log p(y|x) / d w)^2], the labels being the model's own.
`empirical`: the same with the dataset's label instead of the expectation; it fades as the model fits its data.
Means over the examples; the square is of one example's gradient, never of a batch's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from holdfast.importance import gradients

if TYPE_CHECKING:
    import torch

    from holdfast.models import Model

MANY_LABELS = 16  # up to this many the expectation over the labels is exact
DRAWS = 8  # beyond, so many labels are drawn from the model for each example


def true(
    model: Model,
    texts: Sequence[str],
    targets: Sequence[int],
    max_length: int,
    seed: int,
    precision: str = "fp32",
) -> dict[str, torch.Tensor]:
    """Return the true Fisher of every parameter of the network, by name; `targets` are not looked at.

    Up to `MANY_LABELS` labels C the expectation is exact and takes C - 1 backward passes per batch: see `directions`.
    Beyond, it is estimated without bias from `DRAWS` labels per example, drawn from the model with `seed`.
    """
    import torch

    def each(logits: torch.Tensor, indices: list[int]) -> torch.Tensor:
        p = logits.softmax(-1)
        if p.shape[1] <= MANY_LABELS:
            return directions(p)
        drawn = torch.stack([_draw(row.cpu(), seed, index) for row, index in zip(p, indices, strict=True)], 1)
        return (torch.nn.functional.one_hot(drawn.to(p.device), p.shape[1]) - p) / DRAWS**0.5

    return gradients.mean_power(model, texts, each, "square", max_length, precision)


def _draw(p: torch.Tensor, seed: int, index: int) -> torch.Tensor:
    """Return `DRAWS` labels from one example's distribution; its own generator keeps batches out of it."""
    import torch

    generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
    return torch.multinomial(p, DRAWS, replacement=True, generator=generator)


def empirical(
    model: Model,
    texts: Sequence[str],
    targets: Sequence[int],
    max_length: int,
    seed: int,
    precision: str = "fp32",
) -> dict[str, torch.Tensor]:
    """Return the empirical Fisher of every parameter of the network, by name; `targets` index the head's labels."""
    return gradients.mean_power(model, texts, towards(targets), "square", max_length, precision)


def towards(targets: Sequence[int]) -> gradients.Directions:
    """Return the direction of log p(target): its gradient at the logits is onehot(target) - p."""
    import torch

    def each(logits: torch.Tensor, indices: list[int]) -> torch.Tensor:
        labels = torch.tensor([targets[i] for i in indices], device=logits.device)
        return (torch.nn.functional.one_hot(labels, logits.shape[1]) - logits.softmax(-1)).unsqueeze(0)

    return each


def directions(p: torch.Tensor) -> torch.Tensor:
    """Return d [C-1, B, C] with sum over k of d_k d_k^T = diag(p) - p p^T, for each row of probabilities p [B, C].

    That matrix is the covariance of a drawn label's one-hot vector, so sum over k of (J^T d_k)^2 is exactly
    sum over c of p_c (J^T (e_c - p))^2: the expectation in one backward pass less. The draw is taken apart into
    successive binary ones (is it label k, given none before k?), whose martingale differences are uncorrelated:
    d_k = sqrt(p_k r_{k+1} / r_k) (e_k - m_k), r_k the mass from k on and m_k the distribution after k. Inferred.
    """
    import torch

    mass = p.flip(-1).cumsum(-1).flip(-1)
    found = []
    for k in range(p.shape[1] - 1):
        here, after = mass[:, k : k + 1], mass[:, k + 1 : k + 2]
        rest = torch.zeros_like(p)
        rest[:, k + 1 :] = p[:, k + 1 :] / after.clamp_min(torch.finfo(p.dtype).tiny)
        unit = torch.zeros_like(p)
        unit[:, k] = 1
        scale = (p[:, k : k + 1] * after / here.clamp_min(torch.finfo(p.dtype).tiny)).sqrt()
        found.append(scale * (unit - rest))
    return torch.stack(found)
