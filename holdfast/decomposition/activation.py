"""Activations and gated products.

An activation gives gamma what it would give alone and beta the rest, the interaction too: gamma' = act(gamma),
beta' = act(beta + gamma) - act(gamma). The paper points to earlier work for it; this is its authors' code. A gated
product (SwiGLU) is inferred, in two variants: see `settings.Rules`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

    from holdfast.decomposition.linear import Pair
    from holdfast.decomposition.parts import Function

Product = Literal["own", "inter"]


def both(pair: Pair, act: Function) -> Pair:
    """Return the pair after the activation."""
    alone = act(pair[1])
    return act(pair[0] + pair[1]) - alone, alone


def relevant(beta: torch.Tensor, whole: torch.Tensor, activated: torch.Tensor, act: Function) -> torch.Tensor:
    """Return beta after the activation, where `whole` was the whole before it and `activated` is the whole after."""
    return activated - act(whole - beta)


def both_gated(gate: Pair, up: Pair, act: Function, product: Product) -> Pair:
    """Return the pair of act(gate) * up."""
    opened = both(gate, act)
    whole = (opened[0] + opened[1]) * (up[0] + up[1])
    if product == "own":
        beta = opened[0] * up[0]
        return beta, whole - beta
    gamma = opened[1] * up[1]
    return whole - gamma, gamma


def relevant_gated(beta: Pair, whole: Pair, activated: torch.Tensor, act: Function, product: Product) -> torch.Tensor:
    """Return beta of act(gate) * up; `beta` and `whole` are (gate, up), `activated` is the whole's act(gate)."""
    (beta_gate, beta_up), (gate, up) = beta, whole
    alone = act(gate - beta_gate)
    if product == "own":
        return (activated - alone).mul_(beta_up)
    return activated * up - alone * (up - beta_up)
