"""The most important weights move, wherever they are: FISH mask (Sung et al. 2021, arXiv 2111.09839).

Score = the elementwise importance of the assessment (with `measure: empirical-fisher` the paper's own); the highest
`share` of all encoder weights is kept, globally. The head in place is trainable beside it, not inside the share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from holdfast import choices
from holdfast.errors import BadInput
from holdfast.parameters import _ranking
from holdfast.selection import Selection

if TYPE_CHECKING:
    import torch

    from holdfast.importance.read import Importance
    from holdfast.models import Model

SHORTHAND = "share"


class Options(choices.Options):
    """`share` of the encoder's weights, ranked `by` importance (see `_ranking` for task-over-general)."""

    share: float = Field(0.005, gt=0, lt=1)
    by: _ranking.By = "task"


def select(model: Model, importance: Importance | None, options: Options) -> Selection:
    """Return the mask of the highest `share` of weights; ties go to the earlier weight.

    Raises `BadInput` when nothing was assessed or the share is not one weight.
    """
    if importance is None:
        raise BadInput("`mask` ranks weights by importance, and nothing was assessed", key="parameters.mask")
    scores = _ranking.tensors(importance, options.by)
    names = list(model.encoder_parameters())
    total = sum(scores[name].numel() for name in names)
    count = round(options.share * total)
    if count == 0:
        raise BadInput(f"{options.share} of {total} weights is not one weight", key="parameters.mask.share")
    partial = _split(_top([scores[name].flatten() for name in names], count), names, scores)
    part = f"{count} weights in {len(partial)} tensors"
    return Selection(partial=partial, parts=(part,), notes=(_ranking.note(importance, "weights", options.by),))


def _top(scores: list[torch.Tensor], count: int) -> torch.Tensor:
    """Return a flat boolean mask of the `count` highest scores, ties to the earlier."""
    import torch

    flat = torch.cat(scores)
    threshold = torch.topk(flat, count, sorted=True).values[-1]
    mask = flat > threshold
    ties = (flat == threshold).nonzero().flatten()
    mask[ties[: count - int(mask.sum())]] = True
    return mask


def _split(flat: torch.Tensor, names: list[str], shapes: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    pieces = flat.split([shapes[name].numel() for name in names])
    masks = {name: piece.view(shapes[name].shape) for name, piece in zip(names, pieces, strict=True)}
    return {name: mask for name, mask in masks.items() if bool(mask.any())}
