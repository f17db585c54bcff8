"""Chosen by trial: candidates ranked from the importances, tuned briefly, compared on `valid` under the contract.

auto: true
auto: {share: 0.6, budget: 0.5, candidates: [low, high, norms]}

No plain choice: it must train, so the select stage calls `holdfast.auto.choose` instead of `select` here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from holdfast import choices
from holdfast.errors import BadInput

if TYPE_CHECKING:
    from holdfast.importance.read import Importance
    from holdfast.models import Model
    from holdfast.selection import Selection

SHORTHAND = "budget"
Family = Literal["low", "middle", "high", "attention", "norms", "feed-forward", "block", "full"]

BELOW = "what lies below the selection that it finds; its trials keep nothing where they are shorter than two epochs"


class Options(choices.Options):
    """`share`: the most of the encoder's weights that may move. `budget`: the most training tokens that all trials
    together may see, as a share of the full tuning's. `most`: how many candidates are tried (`low` and `high` always).
    `candidates`: which families are considered (see `holdfast.auto.candidates`); empty means all.
    """

    share: float = Field(1.0, gt=0, le=1)
    budget: float = Field(0.5, gt=0)
    most: int = Field(6, ge=1)
    candidates: tuple[Family, ...] = ()


def select(model: Model, importance: Importance | None, options: Options) -> Selection:
    """Raise `BadInput`: this choice is made by trial, and trials need data."""
    raise BadInput("`auto` chooses by trial", key="parameters", remedy="Call holdfast.auto.choose.choose.")
