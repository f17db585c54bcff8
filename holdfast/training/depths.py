"""How deep each parameter lies: 0 for the head and the pooler, 1 for the topmost layer, on down to the embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast import anatomy

if TYPE_CHECKING:
    from holdfast.models import Model


def of_parameters(model: Model, names: list[str]) -> dict[str, int]:
    """Return the depth of each of the parameters (full names, LoRA's included)."""
    parts = {name: _part(model, name) for name in names}
    numbers = {int(p) for n in model.encoder_parameters() if (p := anatomy.part(model, n)).isdigit()}
    top = max(numbers, default=-1) + 1
    deepest = {"embeddings": top + 1}
    return {name: top - int(part) if part.isdigit() else deepest.get(part, 0) for name, part in parts.items()}


def _part(model: Model, name: str) -> str:
    if not name.startswith(model.encoder_prefix):
        return "head"
    part = anatomy.part(model, name)
    return "embeddings" if part == "rest" and "embed" in name else part
