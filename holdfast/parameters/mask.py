"""The most important weights move, wherever they are: FISH mask (Sung et al. 2021, arXiv 2111.09839).

Score = the elementwise importance of the assessment (with `measure: empirical-fisher` the paper's own); the highest
`share` of all encoder weights is kept, globally. The head in place is trainable beside it, not inside the share.

`by: random` draws the weights instead, uniformly over the encoder, and asks no importance: the mask of SHiRA
(arXiv 2406.13175) that every ranking must beat. SHiRA draws r (m + n) weights of each matrix; a share of all, as
here, is inferred.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

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
_KEY = "parameters.mask"
BELOW = "nothing, but where no weight of the embeddings and the lowest layers is among the chosen"


class Options(choices.Options):
    """`share` of the encoder's weights, ranked `by` importance (see `_ranking` for task-over-general), or drawn.

    `draw` seeds `by: random`.
    """

    share: float = Field(0.005, gt=0, lt=1)
    by: Literal["task", "task-over-general", "random"] = "task"
    draw: int = Field(0, ge=0)


def select(model: Model, importance: Importance | None, options: Options) -> Selection:
    """Return the mask of the highest `share` of weights; ties go to the earlier weight.

    Raises `BadInput` when nothing was assessed or the share is not one weight.
    """
    scores, note = _scores(model, importance, options)
    partial = largest({name: scores[name] for name in model.encoder_parameters()}, options.share, f"{_KEY}.share")
    part = f"{sum(int(found.sum()) for found in partial.values())} weights in {len(partial)} tensors"
    return Selection(partial=partial, parts=(part,), notes=(note,))


def largest(scores: dict[str, torch.Tensor], share: float, key: str) -> dict[str, torch.Tensor]:
    """Return masks of the `share` of all weights that scores highest; raise `BadInput` at `key` where that is none."""
    total = sum(score.numel() for score in scores.values())
    count = round(share * total)
    if count == 0:
        raise BadInput(f"{share} of {total} weights is not one weight", key=key)
    names = list(scores)
    return _split(_top([scores[name].flatten() for name in names], count), names, scores)


def _scores(model: Model, importance: Importance | None, options: Options) -> tuple[dict[str, torch.Tensor], str]:
    import torch

    if options.by == "random":
        generator = torch.Generator().manual_seed(options.draw)
        parameters = model.encoder_parameters()
        drawn = {name: torch.rand(p.shape, generator=generator) for name, p in parameters.items()}
        return drawn, f"weights drawn at random, draw {options.draw}"
    if importance is None:
        raise BadInput("`mask` ranks weights by importance, and nothing was assessed", key=_KEY)
    return _ranking.tensors(importance, options.by), _ranking.note(importance, "weights", options.by)


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
