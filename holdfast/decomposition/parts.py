"""What a network is made of, the same for every architecture: linear maps, norms, attention, MLP, head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Function = Callable[["torch.Tensor"], "torch.Tensor"]
Rotary = Callable[["torch.Tensor"], tuple["torch.Tensor", "torch.Tensor"]]


@dataclass(frozen=True)
class Linear:
    """x -> W x + b, with `weight` [out, in]; a bf16 weight means that the product is computed in bf16."""

    weight: torch.Tensor
    bias: torch.Tensor | None = None

    def part(self, rows: slice) -> Linear:
        """Return the map to some of the outputs."""
        return Linear(self.weight[rows], None if self.bias is None else self.bias[rows])

    def product(self, x: torch.Tensor) -> torch.Tensor:
        """Return W x, in the precision of x."""
        from torch.nn import functional

        return functional.linear(x.to(self.weight.dtype), self.weight).to(x.dtype)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return W x + b."""
        found = self.product(x)
        return found if self.bias is None else found.add_(self.bias)


@dataclass(frozen=True)
class Norm:
    """LayerNorm (`centred`) or RMSNorm over the last dimension."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    eps: float
    centred: bool

    def scale(self, x: torch.Tensor) -> torch.Tensor:
        """Return w / sqrt(variance + eps) of x: what the centred (or plain) vector is multiplied by."""
        variance = x.var(-1, correction=0, keepdim=True) if self.centred else x.square().mean(-1, keepdim=True)
        return (variance + self.eps).rsqrt() * self.weight

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return the normed vectors."""
        found = (x - x.mean(-1, keepdim=True) if self.centred else x) * self.scale(x)
        return found if self.bias is None else found + self.bias


@dataclass(frozen=True)
class Mlp:
    """down(act(up x)), or with a gate down(act(gate x) * up x)."""

    up: Linear
    gate: Linear | None
    down: Linear
    activation: Function


@dataclass(frozen=True)
class Layer:
    """One block. `qkv` gives `heads` queries, then `groups` keys, then `groups` values, each of `head_dim`.

    `norm_first`: norm, attention, add, norm, MLP, add (GPT-2, Llama); else attention, add, norm, MLP, add, norm (BERT).
    `head_norms` are those of each query and each key (Qwen3). `window` is how far back a position may look, itself
    counted, where that is limited.
    """

    norm_first: bool
    norms: tuple[Norm, Norm]
    qkv: Linear
    head_norms: tuple[Norm, Norm] | None
    output: Linear
    heads: int
    groups: int
    head_dim: int
    scale: float
    window: int | None
    mlp: Mlp

    @property
    def widths(self) -> tuple[int, int, int]:
        """How many numbers of `qkv` are queries, keys and values."""
        return self.heads * self.head_dim, self.groups * self.head_dim, self.groups * self.head_dim


@dataclass(frozen=True)
class Network:
    """A whole network from the input of its first layer to its logits.

    `read` says where the head looks: at the `first` token or at the `last`; `rotary` gives cos and sin [n, head_dim] of
    positions [n] where queries and keys are rotated; `first` names the first layer's module.
    """

    layers: tuple[Layer, ...]
    final: Norm | None
    head: tuple[Linear | Function, ...]
    read: Literal["first", "last"]
    causal: bool
    rotary: Rotary | None
    first: str


def in_bf16(network: Network) -> Network:
    """Return the network with the matrix products of its layers in bf16; norms, biases and head stay as they are."""

    def lower(linear: Linear) -> Linear:
        return replace(linear, weight=linear.weight.bfloat16())

    def layer(one: Layer) -> Layer:
        gate = one.mlp.gate
        mlp = replace(one.mlp, up=lower(one.mlp.up), gate=gate and lower(gate), down=lower(one.mlp.down))
        return replace(one, qkv=lower(one.qkv), output=lower(one.output), mlp=mlp)

    return replace(network, layers=tuple(layer(one) for one in network.layers))
