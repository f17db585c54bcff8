"""L2-SP (Li et al. 2018): every moving weight is pulled equally towards its start value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from holdfast import choices
from holdfast.anchors import _quadratic

if TYPE_CHECKING:
    from holdfast.anchors._origin import Anchor, Origin

SHORTHAND = "strength"


class Options(choices.Options):
    """`strength` is lambda."""

    strength: float = Field(1.0, gt=0)


def hold(origin: Origin, options: Options) -> Anchor:
    """Return strength / 2 * ||w - w0||^2 over the moving encoder weights."""
    return _quadratic.Quadratic(origin, options.strength)
