"""Words drawn from a model's vocabulary, as learned prompts and prefixes begin: what the model makes of real words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.models import Model


def drawn(model: Model, length: int, draw: int) -> Tensor:
    """Return `length` ids of ordinary tokens, int64 [1, length], drawn from the seed `draw`."""
    import torch

    special = set(model.tokenizer.all_special_ids)
    ordinary = [number for number in range(model.network.config.vocab_size) if number not in special]
    generator = torch.Generator().manual_seed(draw)
    chosen = torch.randint(len(ordinary), (1, length), generator=generator)
    return torch.tensor(ordinary)[chosen].to(model.network.device)
