"""From modules of `transformers` to `parts`: linear layers (also GPT-2's transposed ones) and norms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.decomposition.parts import Linear, Norm

if TYPE_CHECKING:
    import torch


def linear(module: Any) -> Linear:
    """Return the map of an `nn.Linear` or a `Conv1D`, whose weight is [in, out]."""
    from transformers.pytorch_utils import Conv1D

    weight = module.weight.detach()
    bias = None if module.bias is None else module.bias.detach()
    return Linear(weight.T.contiguous() if isinstance(module, Conv1D) else weight, bias)


def stacked(several: list[Any]) -> Linear:
    """Return several maps of the same input as one, their outputs one after the other."""
    import torch

    parts = [linear(module) for module in several]
    biases: list[torch.Tensor] = [part.bias for part in parts if part.bias is not None]
    weight = torch.cat([part.weight for part in parts])
    return Linear(weight, torch.cat(biases) if biases else None)


def norm(module: Any) -> Norm:
    """Return the norm of an `nn.LayerNorm` or of an RMSNorm of `transformers`."""
    import torch

    if isinstance(module, torch.nn.LayerNorm):
        bias = None if module.bias is None else module.bias.detach()
        return Norm(module.weight.detach(), bias, module.eps, centred=True)
    return Norm(module.weight.detach(), None, module.variance_epsilon, centred=False)


def readout(network: Any) -> Linear:
    """Return what a decoder's logits come from: the labels' `score`, or the unembedding."""
    return linear(network.score if hasattr(network, "score") else network.lm_head)
