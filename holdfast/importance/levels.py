"""Importance per weight gathered to tensors, heads and layers: always the mean over the weights of the part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast import anatomy

if TYPE_CHECKING:
    import torch

    from holdfast.importance.read import Levels
    from holdfast.models import Model

Weights = dict[str, "torch.Tensor"]
_PIECE = 1 << 20  # numbers that are made double at a time: of a whole embedding it would take as much again as a model


def gather(model: Model, weights: Weights) -> Levels:
    """Return `{"tensor": ..., "head": ..., "layer": ...}` of an importance per encoder weight.

    `head` has keys `LAYER.HEAD` (query, key and value rows and biases, output columns) and is empty for an architecture
    outside `anatomy`'s table; `layer` has the layers' numbers, `embeddings`, `pooler` and `rest` where they exist.
    """
    parts: dict[str, list[str]] = {}
    for name in weights:
        parts.setdefault(anatomy.part(model, name), []).append(name)
    return {
        "tensor": {name: mean([value]) for name, value in weights.items()},
        "head": _heads(model, weights),
        "layer": {part: mean([weights[name] for name in names]) for part, names in parts.items()},
    }


def _heads(model: Model, weights: Weights) -> dict[str, float]:
    if not anatomy.known(model):
        return {}
    found = {}
    for layer, attention in enumerate(anatomy.attention(model)):
        for head in range(attention.heads):
            places = anatomy.head_places(model, attention, head)
            found[f"{layer}.{head}"] = mean([weights[name][place] for name, place in places.items()])
    return found


def mean(values: list[torch.Tensor]) -> float:
    """Return the mean over all numbers of several tensors, in double precision; 0 for none."""
    import torch

    count = sum(value.numel() for value in values)
    pieces = (piece for value in values for piece in value.flatten().split(_PIECE))
    return sum(float(piece.sum(dtype=torch.float64)) for piece in pieces) / count if count else 0.0
