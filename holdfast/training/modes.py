"""Which modules run in eval mode while the rest trains: every block without a moving parameter.

A block is the embeddings, a layer or the pooler. Its dropout would only blur what it computes, and what it computes can
be cached because it is always the same. The head is no block: its dropout stays on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast import anatomy

if TYPE_CHECKING:
    from torch import nn

    from holdfast.models import Model


def frozen_modules(model: Model) -> list[nn.Module]:
    """Return the modules of the encoder's blocks in which no parameter requires a gradient now.

    A module that belongs to no block counts as a block of its own.
    """
    prefix = model.encoder_prefix
    moving = {anatomy.part(model, name) for name, p in model.encoder_parameters().items() if p.requires_grad}
    found = []
    for name, module in model.encoder.named_modules():
        part = anatomy.part(model, f"{prefix}{name}.")
        moves = any(p.requires_grad for p in module.parameters()) if part in ("", "rest") else part in moving
        if not moves:
            found.append(module)
    return found


def train(model: Model, frozen: list[nn.Module]) -> None:
    """Put the network in training mode, and the `frozen` modules (each by itself) in eval mode."""
    model.network.train()
    for module in frozen:
        module.training = False
