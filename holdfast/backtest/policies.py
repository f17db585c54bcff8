"""The policies that are compared. Each is the real loop under other settings, so nothing of it is imitated.

`never` and `always` and `calendar` look at no check and roll nothing back; `always` asks by hand in every window,
`calendar` sets `retrain.every`. `holdfast` is the loop as the pipeline file has it. Gate and contract are the file's
in all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.drift.settings import Checks
from holdfast.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.backtest.stream import Stop
    from holdfast.spec import Pipeline

POLICIES = ("never", "always", "calendar", "holdfast")
EVERY_WINDOW = "always: every window"
_PARTS = 4


def parse(text: str) -> tuple[str, ...]:
    """Return the policies that a comma-separated text names, in our order; raises `BadInput` for an unknown one."""
    named = [name.strip() for name in text.split(",") if name.strip()]
    for name in named:
        if name not in POLICIES:
            raise BadInput(f"unknown policy `{name}`", key="--policies", expected=", ".join(POLICIES))
    if not named:
        raise BadInput("no policy is named", key="--policies", expected=", ".join(POLICIES))
    return tuple(name for name in POLICIES if name in named)


def asks(policy: str) -> str | None:
    """Return the reason with which the policy asks for a retrain in every window, if it does."""
    return EVERY_WINDOW if policy == "always" else None


def every(pipeline: Pipeline, stops: Sequence[Stop], given: float | None) -> float:
    """Return the hours between two retrains by the calendar: as given, else the file's, else a quarter of the time."""
    own = given or pipeline.monitor.retrain.every
    return own or max((stops[-1].now - stops[0].now).total_seconds() / 3600 / _PARTS, 1.0)


def overrides(policy: str, name: str, hours: float) -> list[str]:
    """Return what a policy changes in the pipeline file; `hours` is the calendar's."""
    common = [f"register.name={name}", "monitor.source=null", "monitor.columns.time=time", "monitor.columns.id=id"]
    if policy == "holdfast":
        return common
    blind = [f"monitor.checks.{check}=false" for check in Checks.model_fields]
    due = f"{hours:.6f}" if policy == "calendar" else "null"
    never = ["monitor.rollback=false", "monitor.retrain.audit_every=null"]
    return [*common, *blind, f"monitor.retrain.every={due}", *never]
