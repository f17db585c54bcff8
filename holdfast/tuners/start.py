"""Low-rank matrices that start as a part of the weight itself, which the frozen weight then lacks.

With W = R + s B0 A0 (s = alpha / r) the model starts as the base, and what is trained is that part of W:

PiSSA (arXiv 2404.02948): W = U S V'; B0 = U_r S_r^(1/2), A0 = S_r^(1/2) V_r', the r largest singular values.
CorDA (arXiv 2406.05223), knowledge-preserving: with C the mean of x x' over the inputs x of the module on text whose
knowledge is to stay, W C = U S V'; B0 and A0 as above from U, S and V' C^-1, but the r SMALLEST singular values: the
directions that those inputs hardly use. C + damp mean(diag C) I is inverted, damp doubled from 0.01 until that is
accurate, as in PEFT.

Both are divided so that s B0 A0 is the part. The trained pair is kept as [A, A0] and [B, -B0], a LoRA of rank 2 r over
the untouched W (PEFT's own conversion).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_INACCURATE = 0.05
Pair = tuple["Tensor", "Tensor"]


def pissa(weight: Tensor, rank: int, scale: float) -> Pair:
    """Return (A0 [rank, in], B0 [out, rank]) of the largest singular values of `weight` [out, in]."""
    import torch

    left, values, right = torch.linalg.svd(weight.float(), full_matrices=False)
    return _pair(left[:, :rank], values[:rank], right[:rank], scale)


def corda(weight: Tensor, covariance: Tensor, rank: int, scale: float) -> Pair:
    """Return (A0, B0) of the directions that the inputs behind `covariance` [in, in] use least."""
    import torch

    damped, inverse = _inverted(covariance.float())
    left, values, right = torch.linalg.svd(weight.float() @ damped, full_matrices=False)
    return _pair(left[:, -rank:], values[-rank:], (right @ inverse)[-rank:], scale)


def _pair(left: Tensor, values: Tensor, right: Tensor, scale: float) -> Pair:
    root = (values / scale).sqrt()
    return (root[:, None] * right).contiguous(), (left * root).contiguous()


def _inverted(covariance: Tensor) -> Pair:
    import torch

    damp, one = 0.01, torch.eye(len(covariance))
    while True:
        damped = covariance + damp * covariance.diagonal().mean() * one
        inverse = torch.linalg.inv(damped)
        if torch.dist(damped @ inverse, one) < _INACCURATE:
            return damped, inverse
        damp *= 2
