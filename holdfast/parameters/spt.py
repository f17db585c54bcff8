"""Weights to which the task is sensitive move, whole matrices by LoRA where many are: SPT (arXiv 2303.08566).

Sensitivity is the importance of the assessment (with `measure: empirical-fisher` the mean of squared per-example
gradients, close to the paper's). The highest `share` of the encoder's weights is taken. A matrix that holds at least as
many of them as a LoRA of rank r would have numbers, r (in + out), gets that LoRA instead of them (structured); all
others move where they are (unstructured). That threshold is inferred: the paper sets one by hand.

What is kept are new values, of whole matrices where LoRA moved them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from holdfast import anatomy, choices
from holdfast.parameters import _targets, mask
from holdfast.selection import Selection

if TYPE_CHECKING:
    from holdfast.importance.read import Importance
    from holdfast.models import Model

SHORTHAND = "share"
ADDS = "low-rank weights"
BELOW = "nothing, but where no weight of the embeddings and the lowest layers is among the sensitive"


class Options(choices.Options):
    """`share` of the encoder's weights that are sensitive; rank `r` and scale `alpha` / r of the LoRA."""

    share: float = Field(0.005, gt=0, lt=1)
    r: int = Field(8, ge=1)
    alpha: float = Field(16, gt=0)


def select(model: Model, importance: Importance | None, options: Options) -> Selection:
    """Return masks and the arguments of a `peft.LoraConfig`; raise `BadInput` as `mask` does."""
    chosen = mask.select(model, importance, mask.Options(share=options.share))
    counts = {name: int(found.sum()) for name, found in chosen.partial.items()}
    structured = [
        name
        for name in _targets.linear_modules(model)
        if counts.get(f"{model.encoder_prefix}{name}.weight", 0) >= _size(model, name, options)
    ]
    dropped = {f"{model.encoder_prefix}{name}.weight" for name in structured}
    left = {name: found for name, found in chosen.partial.items() if name not in dropped}
    part = f"{sum(counts[name] for name in left)} weights in {len(left)} tensors"
    parts = (*((part,) if left else ()), *(f"lora {name}" for name in structured))
    added: dict[str, Any] = {"r": options.r, "lora_alpha": options.alpha, "bias": "none", "target_modules": structured}
    added |= _targets.transposed(model, structured)
    return Selection(partial=left, added=added if structured else None, parts=parts, notes=chosen.notes)


def _size(model: Model, name: str, options: Options) -> int:
    module = model.encoder.get_submodule(name)
    return int(options.r * sum(anatomy.linear_sizes(module)))
