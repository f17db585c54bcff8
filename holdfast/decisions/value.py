"""Expected value: what lost points cost over the horizon, against what a run costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.drift.settings import Value


def net(points_lost: float, value: Value) -> float:
    """Return what adapting again is expected to bring, in the section's currency.

    points lost x value of a point per day x days of the horizon - cost of a run; `points_lost` is a share of 1, so 0.05
    is 5 points. It takes for granted that the run wins back all that was lost: an upper bound.
    """
    return 100 * points_lost * value.per_point_per_day * value.horizon_days - value.cost_per_run
