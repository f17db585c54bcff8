"""While tuning, frozen linear weights are held in 4 bits (QLoRA, Dettmers et al. 2023, arXiv 2305.14314).

Normal floats (NF4) in blocks of 64 with quantised block constants, by bitsandbytes; they become bf16 (fp32 where the
tuning is) as they are used. What is tuned is written beside the start model's own weights, and judged with these, so a
verdict is about what will be used. Imports bitsandbytes, so it is imported inside functions only.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import bitsandbytes
import torch
from torch import nn

from holdfast import anatomy, inference
from holdfast.tuners import kinds

if TYPE_CHECKING:
    from holdfast.models import Model


class Linear4bit(nn.Module):
    """A frozen linear map; computes in `kind` and gives back what came in.

    Not bitsandbytes' module of that name: on a processor that lays its weights out anew for what runs in eval mode,
    as frozen layers do here, and cannot go back.
    """

    def __init__(self, layer: nn.Linear, kind: torch.dtype) -> None:
        super().__init__()
        self.in_features, self.out_features, self.kind = layer.in_features, layer.out_features, kind
        whole = bitsandbytes.nn.Params4bit(layer.weight.detach(), requires_grad=False, quant_type="nf4")
        self.weight, self.bias = whole.to(layer.weight.device), layer.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the map of [..., in_features], [..., out_features]."""
        bias = None if self.bias is None else self.bias.to(self.kind)
        found: torch.Tensor = bitsandbytes.matmul_4bit(x.to(self.kind), self.weight, self.weight.quant_state, bias=bias)
        return found.to(x.dtype)


def quantize(model: Model, moving: Collection[nn.Parameter], precision: str) -> int:
    """Put the linear maps of the layers into 4 bits, but for those in which something moves; return how many weights.

    Embeddings, norms, biases, heads and the output layer stay as they are.
    """
    whole = precision == "fp32" or (precision == "auto" and not inference.has_bf16())
    kind = torch.float32 if whole else torch.bfloat16
    apart, found = {id(parameter) for parameter in moving}, 0
    for name in anatomy.layers(model):
        for parent in list(model.network.get_submodule(name).modules()):
            for child, module in list(parent.named_children()):
                if _is_frozen_linear(module, apart):
                    made: Any = Linear4bit(module, kind).train(module.training)
                    setattr(parent, child, made)
                    found += made.in_features * made.out_features
    return found


def make_whole(model: Model, start: Model) -> None:
    """Put the start model's own linear maps back in their places, which are taken from it."""
    for name, module in list(model.network.named_modules()):
        if isinstance(module, Linear4bit):
            path, _, child = name.rpartition(".")
            own = start.network.get_submodule(kinds.bare(f"{name}.weight").removesuffix(".weight"))
            setattr(model.network.get_submodule(path), child, own.requires_grad_(False))


def _is_frozen_linear(module: nn.Module, apart: set[int]) -> bool:
    return type(module) is nn.Linear and not any(id(p) in apart for p in module.parameters(recurse=False))
