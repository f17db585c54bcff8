"""The rule: what to do, as a pure function of what was seen, what was decided before, and the settings.

The first of these that applies decides; a decision is made each time, also to do nothing.

1. A new champion does worse than its predecessor on the same labelled rows (`monitor.rollback`): `rollback`.
2. An adaptation of this model is under way: `busy`.
3. Someone asks by hand, or the calendar does (`retrain.every`): `retrain`, on enough labelled rows.
4. No episode: `watch` after a single alarm, an `audit` where that is due, else `nothing`.
5. The episode has had its retrain: `nothing`; if that was refused or failed, until `retrain.windows` new windows have
   come, twice as many after every other. Within `retrain.cooldown` of the last one, or of a rollback: `wait`.
6. Fewer labelled rows than `retrain.labelled`, or a value to weigh and points lost unknown: `ask-for-labels`.
7. The expected value is not positive: `not-worth-it`. Else: `retrain`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from holdfast.decisions import episodes, value
from holdfast.decisions.records import Adaptation, Decision, Facts, Outcome

if TYPE_CHECKING:
    from holdfast.drift.settings import Monitor

_HOUR = 3600.0


@dataclass(frozen=True)
class Past:
    """What was decided about this name, and its adaptations' events, oldest first."""

    decisions: Sequence[Decision] = ()
    adaptations: Sequence[Adaptation] = ()


@dataclass(frozen=True)
class _Ruling:
    outcome: Outcome
    rule: str
    reason: str
    numbers: dict[str, float | str | None] = field(default_factory=dict)


def decide(facts: Facts, monitor: Monitor, past: Past) -> Decision:
    """Return the decision about a round."""
    episode = _episode(facts, monitor, past)
    ruling = (
        _worse(facts, monitor)
        or _busy(facts, past)
        or _manual(facts, monitor)
        or _calendar(facts, monitor, past)
        or _no_episode(facts, monitor, past, episode)
        or _episode_is_spent(facts, monitor, past, episode)
        or _cooldown(facts, monitor, past)
        or _too_few_labels(facts, monitor, "labelled rows")
        or _weigh(facts, monitor)
        or _Ruling("retrain", "drift", f"drift in {', '.join(facts.drifted) or 'earlier windows'} goes on")
    )
    return Decision(
        name=facts.name,
        key=facts.key,
        version=facts.version,
        window=facts.window,
        outcome=ruling.outcome,
        rule=ruling.rule,
        reason=ruling.reason,
        episode=episode,
        numbers=ruling.numbers | _worth(facts, monitor),
        facts=facts,
        settings=monitor.model_dump(mode="json", by_alias=True, include={"alarm", "retrain", "rollback", "value"}),
        at=facts.at,
    )


def under_way(adaptations: Sequence[Adaptation], at: str) -> Adaptation | None:
    """Return the adaptation that was begun, has not ended, and whose lease holds at a time."""
    last = adaptations[-1] if adaptations else None
    return last if last and last.event == "begin" and _moment(last.until) > _moment(at) else None


def _episode(facts: Facts, monitor: Monitor, past: Past) -> str | None:
    own = [d for d in past.decisions if d.version == facts.version and d.window is not None]
    marks = [(d.window, d.facts.alarmed) for d in own if d.window is not None]
    if facts.window is not None:
        marks.append((facts.window, facts.alarmed))
    return episodes.current(facts.version, marks, monitor.alarm)


def _worse(facts: Facts, monitor: Monitor) -> _Ruling | None:
    trial, settings = facts.trial, monitor.rollback
    if settings is None or trial is None or trial.drop < settings.drop or trial.lower <= 0:
        return None
    reason = (
        f"version {facts.version} has {trial.after:.4f} where version {trial.predecessor} has {trial.before:.4f}, on "
        f"the same {trial.n} labelled rows of its first windows; {trial.drop:.4f} worse, by at least {trial.lower:.4f}"
    )
    numbers: dict[str, float | str | None] = {"drop": trial.drop, "lower": trial.lower, "n": trial.n}
    return _Ruling("rollback", "worse than before", reason, numbers)


def _busy(facts: Facts, past: Past) -> _Ruling | None:
    running = under_way(past.adaptations, facts.at)
    if running is None:
        return None
    return _Ruling(
        "busy", "one at a time", f"{running.holder} is adapting since {running.at}", {"token": running.token}
    )


def _manual(facts: Facts, monitor: Monitor) -> _Ruling | None:
    if facts.manual is None:
        return None
    return _too_few_labels(facts, monitor, "manual") or _Ruling("retrain", "manual", facts.manual)


def _calendar(facts: Facts, monitor: Monitor, past: Past) -> _Ruling | None:
    every, since = monitor.retrain.every, _last(past, "retrain", facts)
    hours = _hours_since(since, facts.at)
    if every is None or hours is None or hours < every:
        return None
    numbers: dict[str, float | str | None] = {"hours since": round(hours, 2), "every": every}
    due = _Ruling(
        "retrain", "calendar", f"{hours:.0f} hours since the last one, and one is due every {every:.0f}", numbers
    )
    return _too_few_labels(facts, monitor, "calendar") or due


def _no_episode(facts: Facts, monitor: Monitor, past: Past, episode: str | None) -> _Ruling | None:
    if episode is not None:
        return None
    if facts.window is None:
        return _audit(facts, monitor, past) or _Ruling("nothing", "no window", "no window is complete")
    alarm = monitor.alarm
    if facts.alarmed:
        wanted = f"an episode takes {alarm.at_least} of {alarm.out_of} windows"
        return _Ruling("watch", "m of n", f"drift in {', '.join(facts.drifted)}; {wanted}")
    return _audit(facts, monitor, past) or _Ruling("nothing", "no drift", "no check drifted, and no episode is on")


def _audit(facts: Facts, monitor: Monitor, past: Past) -> _Ruling | None:
    every = monitor.retrain.audit_every
    hours = _hours_since(_last(past, "audit", facts), facts.at)
    if every is None or hours is None or hours < every:
        return None
    reason = f"{hours:.0f} hours since the contract was last looked at, and that is due every {every:.0f}"
    return _Ruling("audit", "calendar", reason, {"hours since": round(hours, 2), "every": every})


def _episode_is_spent(facts: Facts, monitor: Monitor, past: Past, episode: str | None) -> _Ruling | None:
    had = [d for d in past.decisions if d.outcome == "retrain" and d.episode == episode]
    if not had:
        return None
    rule, said = "once per episode", "this episode of drift has had its retrain"
    if not _in_vain(had[-1], past):
        return _Ruling("nothing", rule, said)
    wanted = monitor.retrain.windows * 2 ** (len(had) - 1)
    known = {d.window for d in past.decisions[: past.decisions.index(had[-1]) + 1]}
    later = {d.window for d in past.decisions if d.version == facts.version} | {facts.window}
    came = len(later - known - {None})
    if came >= wanted:
        return None
    reason = f"{said}, which came to nothing; another waits for {wanted} new windows, {came} have come"
    return _Ruling("nothing", rule, reason, {"new windows": came, "wanted": wanted})


def _in_vain(retrain: Decision, past: Past) -> bool:
    """Say whether a retrain was refused, or failed the last time it was tried."""
    events = [event for event in past.adaptations if event.decision == retrain.key]
    return bool(events) and (events[-1].event == "fail" or events[-1].result.get("verdict") == "refused")


def _cooldown(facts: Facts, monitor: Monitor, past: Past) -> _Ruling | None:
    changes = [d for d in past.decisions if d.outcome in ("retrain", "rollback")]
    hours = _hours_since(changes[-1].at if changes else None, facts.at)
    if hours is None or hours >= monitor.retrain.cooldown:
        return None
    last = changes[-1].outcome
    reason = f"{hours:.1f} hours since the last {last}, and the cooldown is {monitor.retrain.cooldown:.1f}"
    return _Ruling("wait", "cooldown", reason, {"hours since": round(hours, 2), "cooldown": monitor.retrain.cooldown})


def _too_few_labels(facts: Facts, monitor: Monitor, rule: str) -> _Ruling | None:
    wanted = monitor.retrain.labelled
    if facts.labelled >= wanted:
        return None
    numbers: dict[str, float | str | None] = {"labelled": facts.labelled, "wanted": wanted}
    return _Ruling(
        "ask-for-labels", rule, f"{facts.labelled} labelled rows to learn from, {wanted} are wanted", numbers
    )


def _weigh(facts: Facts, monitor: Monitor) -> _Ruling | None:
    if monitor.value is None:
        return None
    if facts.points_lost is None:
        return _Ruling("ask-for-labels", "value", "how much was lost is unknown, so that it cannot be weighed")
    worth = value.net(max(facts.points_lost, 0.0), monitor.value)
    if worth > 0:
        return None
    reason = f"{100 * facts.points_lost:.1f} points lost ({facts.points_from}) are worth less than a run costs"
    return _Ruling("not-worth-it", "value", f"{reason}: {worth:.2f} {monitor.value.currency}")


def _worth(facts: Facts, monitor: Monitor) -> dict[str, float | str | None]:
    found: dict[str, float | str | None] = {"points lost": facts.points_lost, "from": facts.points_from}
    if monitor.value is not None and facts.points_lost is not None:
        worth = value.net(max(facts.points_lost, 0.0), monitor.value)
        found |= {"expected value": round(worth, 2), "currency": monitor.value.currency}
    return found


def _last(past: Past, outcome: Outcome, facts: Facts) -> str | None:
    """Return when the last decision of that kind was made or the champion promoted, whichever is later."""
    known = [d.at for d in past.decisions if d.outcome == outcome] + ([facts.promoted_at] if facts.promoted_at else [])
    return max(known, key=_moment) if known else None


def _hours_since(then: str | None, now: str) -> float | None:
    return None if then is None else (_moment(now) - _moment(then)) / _HOUR


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
