"""Norms: the scale is the whole vector's, so that what remains is linear.

LayerNorm as in the authors' code (the paper does not spell it out): each part is centred by its own mean, and the bias
is split by |beta| / (|beta| + |gamma|) of the values before the norm. RMSNorm has neither (inferred).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.decomposition.linear import SMALLEST

if TYPE_CHECKING:
    import torch

    from holdfast.decomposition.linear import Pair
    from holdfast.decomposition.parts import Norm


def both(pair: Pair, norm: Norm) -> Pair:
    """Return the pair after the norm."""
    beta, gamma = pair
    scale = norm.scale(beta + gamma)
    first, second = ((part - part.mean(-1, keepdim=True) if norm.centred else part) * scale for part in pair)
    if norm.bias is None:
        return first, second
    share = beta.abs() / (beta.abs() + gamma.abs() + SMALLEST)
    return first + share * norm.bias, second + (1 - share) * norm.bias


def relevant(beta: torch.Tensor, whole: torch.Tensor, norm: Norm) -> torch.Tensor:
    """Return beta after the norm, where `whole` is what the whole was before it."""
    scaled = (beta - beta.mean(-1, keepdim=True)).mul_(norm.scale(whole)) if norm.centred else beta * norm.scale(whole)
    if norm.bias is None:
        return scaled
    own = beta.abs()
    sizes = (whole - beta).abs_().add_(own).add_(SMALLEST)
    return scaled.addcdiv_(own.mul_(norm.bias), sizes)
