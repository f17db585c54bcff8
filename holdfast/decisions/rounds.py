"""One round: the facts of a watched window, the rule's decision about them, and its line in the book."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from holdfast import rows
from holdfast.decisions import audit, book, rule, trial
from holdfast.decisions.records import Adaptation, Decision, Facts
from holdfast.drift import champion as champions
from holdfast.drift import watch

if TYPE_CHECKING:
    from holdfast.drift.champion import Champion
    from holdfast.drift.settings import Monitor
    from holdfast.drift.watch import Taken, Watched
    from holdfast.home import Home


def decide(
    champion: Champion, watched: Watched | None, monitor: Monitor, at: str, manual: str | None, home: Home
) -> Decision:
    """Decide about a watched window, or about a round without one, and write it down; return what stands.

    An audit that is due is done at once: the decision says what it found.
    """
    written = book.at(home)
    past = written.past(champion.name)
    facts = _facts(champion, watched, past, monitor, at, manual, home)
    if written.under_way(champion.name, at) is None:
        past = replace(past, adaptations=_without_the_dead(past.adaptations))
    decision = rule.decide(facts, monitor, past)
    if watched is not None:
        wanted = watched.unlabelled if decision.outcome == "ask-for-labels" else ()
        update = {"window_rows": watched.rows.digest, "window_until": watched.window.until}
        decision = decision.model_copy(update={**update, "report": watched.report, "wanted_labels": wanted})
    if decision.outcome == "audit":
        found = audit.audit(champion, home)
        reason = f"{decision.reason}; {audit.told(found)}"
        decision = decision.model_copy(update={"audit": found, "reason": reason})
    return written.record(decision)


def _without_the_dead(adaptations: Sequence[Adaptation]) -> Sequence[Adaptation]:
    """Leave out one that was begun and has not ended, though none is under way: a lease ends with its process."""
    return adaptations[:-1] if adaptations and adaptations[-1].event == "begin" else adaptations


def known(champion: Champion, window: Taken, home: Home) -> Decision:
    """Return the decision about a window that was decided about before."""
    past = book.at(home).past(champion.name).decisions
    return next(decision for decision in past if decision.window == window.digest)


def _facts(
    champion: Champion,
    watched: Watched | None,
    past: rule.Past,
    monitor: Monitor,
    at: str,
    manual: str | None,
    home: Home,
) -> Facts:
    now = rows.read(home, watched.rows) if watched else []
    old = champions.texts(champion, home)
    known = watch.material(past.decisions, now, monitor.retrain.windows, champion.name, home, old)
    common: dict[str, Any] = {"name": champion.name, "version": champion.version, "at": at, "manual": manual}
    common |= {"labelled": len(known), "promoted_at": champion.promoted_at, "generation": champion.generation}
    common["trial"] = trial.observe(champion, past.decisions, now, monitor.rollback, home)
    if watched is None:
        return Facts.model_validate(common)
    lost = {f.check: f.effect for f in watched.findings if not f.skipped and f.check in ("performance", "estimate")}
    source = next((check for check in ("performance", "estimate") if check in lost), None)
    words = {None: None, "performance": "measured", "estimate": "estimated"}
    return Facts.model_validate(
        {
            **common,
            "window": watched.window.digest,
            "rows": len(now),
            "alarmed": bool(watched.drifted),
            "drifted": watched.drifted,
            "points_lost": lost[source] if source else None,
            "points_from": words[source],
        }
    )
