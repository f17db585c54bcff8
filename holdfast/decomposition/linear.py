"""Linear maps: the bias goes to beta and gamma in proportion to their sizes (CD-T eqs 4-5), and the sign fix (B.1).

s = |W beta| / (|W beta| + |W gamma| + 1e-8) elementwise, the 1e-8 being the authors' code's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from holdfast.decomposition.parts import Linear

SMALLEST = 1e-8
Pair = tuple["torch.Tensor", "torch.Tensor"]


def both(pair: Pair, linear: Linear) -> Pair:
    """Return the pair after W x + b."""
    beta, gamma = (linear.product(part) for part in pair)
    if linear.bias is None:
        return beta, gamma
    share = beta.abs() / (beta.abs() + gamma.abs() + SMALLEST)
    return beta + share * linear.bias, gamma + (1 - share) * linear.bias


def relevant(beta: torch.Tensor, whole: torch.Tensor, linear: Linear) -> torch.Tensor:
    """Return beta after W x + b, where `whole` is W x + b of the whole."""
    product = linear.product(beta)
    if linear.bias is None:
        return product
    own = product.abs()
    sizes = ((whole - linear.bias) - product).abs_().add_(own).add_(SMALLEST)
    return product.addcdiv_(own.mul_(linear.bias), sizes)


def both_fixed(pair: Pair) -> Pair:
    """Return the pair after the sign fix: where the signs are opposite the larger takes the sum, the other is 0."""
    import torch

    beta, gamma = pair
    whole, clash, larger = beta + gamma, beta * gamma < 0, beta.abs() > gamma.abs()
    to_beta, to_gamma = whole * larger, whole * ~larger
    return torch.where(clash, to_beta, beta), torch.where(clash, to_gamma, gamma)


def relevant_fixed(beta: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """Return beta after the sign fix."""
    import torch

    gamma = whole - beta
    return torch.where(beta * gamma < 0, whole * (beta.abs() > gamma.abs()), beta)
