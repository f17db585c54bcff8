"""Episodes of drift: when alarms are one, which it is, and when it is over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.drift.settings import Alarm

Mark = tuple[str, bool]  # a window's digest, and whether it alarmed


def current(version: str, marks: Iterable[Mark], alarm: Alarm) -> str | None:
    """Return the episode that the last of the `marks` (oldest first, of one model version) stands in, or None.

    An episode begins when `at_least` of the last `out_of` windows alarmed, and is named by the version and the first
    of those. It ends after `clear` windows in a row without an alarm (hysteresis); windows before that count no more.
    """
    recent: list[Mark] = []
    episode: str | None = None
    calm = 0
    for window, alarmed in marks:
        calm = 0 if alarmed else calm + 1
        recent = [*recent, (window, alarmed)][-alarm.out_of :]
        if episode is not None and calm >= alarm.clear:
            episode, recent = None, []
        first = [name for name, was in recent if was]
        if episode is None and len(first) >= alarm.at_least:
            episode = f"{version}:{first[0]}"
    return episode
