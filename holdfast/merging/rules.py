"""How task vectors combine. A task vector is tuned minus start weights, {name: tensor}, the same names in all.

Task arithmetic (Ilharco et al. 2023, arXiv 2212.04089): the sum of lambda_i t_i; a negative weight unlearns.

TIES (Yadav et al. 2023, arXiv 2306.01708): each t_i is trimmed to the `density` of its numbers that are largest in
magnitude, over the whole vector; per number the sign with the larger total magnitude is elected; the trimmed numbers
that have it are averaged. Weights multiply after the election (PEFT's reading; the paper scales the merged vector).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    Vector = Mapping[str, Tensor]


def task_arithmetic(vectors: Sequence[Vector], weights: Sequence[float]) -> dict[str, Tensor]:
    """Return the weighted sum of task vectors."""
    import torch

    found = {}
    for name, first in vectors[0].items():
        total = torch.zeros_like(first)
        for vector, weight in zip(vectors, weights, strict=True):
            total += weight * vector[name]
        found[name] = total
    return found


def ties(vectors: Sequence[Vector], weights: Sequence[float], density: float) -> dict[str, Tensor]:
    """Return the merged task vector of TIES; `density` is the share of numbers of each that is kept, above 0 to 1."""
    import torch

    trimmed = [_trimmed(vector, density) for vector in vectors]
    found = {}
    for name in vectors[0]:
        stacked = torch.stack([vector[name] for vector in trimmed])
        elected = torch.where(stacked.sum(0) >= 0, 1.0, -1.0).to(stacked.dtype)
        agreeing = (stacked.sign() == elected) & (stacked != 0)
        scaled = stacked * torch.tensor(list(weights), dtype=stacked.dtype).view(-1, *[1] * (stacked.dim() - 1))
        found[name] = torch.where(agreeing, scaled, 0.0).sum(0) / agreeing.sum(0).clamp(min=1)
    return found


def _trimmed(vector: Vector, density: float) -> dict[str, Tensor]:
    """Return a task vector with all but its largest numbers set to 0; ties go to the earlier."""
    import torch

    from holdfast.parameters import mask

    if density == 1:
        return dict(vector)
    kept = mask.largest({name: value.abs() for name, value in vector.items()}, density, "--density")
    return {name: value * kept.get(name, torch.zeros((), dtype=torch.bool)) for name, value in vector.items()}
