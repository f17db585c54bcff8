"""A new champion on trial: beside its predecessor on the labelled rows of its first windows, and taken back if worse.

Whoever was promoted by hand is not on trial: a person's word stands. Nor is whoever a rollback brought back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast import rows as dataset_rows
from holdfast.decisions import book, shadow
from holdfast.decisions.records import Decision, Trial
from holdfast.drift import champion as champions
from holdfast.drift import watch
from holdfast.registry import ledger, promote, versions
from holdfast.spec import Training

if TYPE_CHECKING:
    from holdfast.drift.champion import Champion
    from holdfast.drift.settings import Rollback
    from holdfast.home import Home
    from holdfast.registry.ledger import Promotion

RISK = 0.05  # of taking a champion back that is no worse, over all its windows on trial


def observe(
    champion: Champion, past: Sequence[Decision], now: Sequence[dict[str, Any]], settings: Rollback | None, home: Home
) -> Trial | None:
    """Return how a champion does beside its predecessor; None where it is not on trial, or too few labels are there.

    `past` are all decisions about the name, `now` the rows of the window that is being decided about. Each window on
    trial is a look of its own, so the bound's confidence is 1 - 0.05 / `settings.windows` (Bonferroni).
    """
    predecessor = before(champion.name, champion.generation, home) if settings else None
    if settings is None or predecessor is None:
        return None
    own = [d for d in past if d.window_rows and d.facts.generation == champion.generation][: settings.windows]
    rows = [row for decision in own for row in dataset_rows.stored(home, decision.window_rows or "")]
    if len(own) < settings.windows:
        rows += now
    found = shadow.unseen(rows, champions.texts(champion, home), champion.name, home)
    known = _known(past, champion, len(found))
    if known is not None or len(found) < watch.FEWEST:
        return known
    old = versions.fetch(champion.name, predecessor.version, home)
    if champion.head not in old.heads:
        return None
    training = Training.model_validate({"max_length": champion.max_length, "precision": champion.precision})
    pair = shadow.beside(old, champion.start, found, champion.head, training, home)
    confidence = 1 - RISK / settings.windows
    return Trial(
        predecessor=predecessor.version,
        windows=settings.windows,
        before=float(np.mean(pair.right_before)),
        after=float(np.mean(pair.right_after)),
        drop=pair.drop,
        lower=pair.drop_lower(confidence),
        confidence=confidence,
        n=pair.n,
    )


def before(name: str, generation: int, home: Home) -> Promotion | None:
    """Return whom a champion replaced, None where nobody, or where a person or a rollback made it champion."""
    entries = [entry for entry in ledger.at(home).history(name) if entry.generation <= generation]
    standing = ledger.stand(entries)
    by_gate = bool(entries) and entries[-1].action == "promote" and not entries[-1].why.startswith(promote.BY_HAND)
    return standing[-2] if by_gate and len(standing) > 1 else None


def _known(past: Sequence[Decision], champion: Champion, n: int) -> Trial | None:
    """Return the last trial of this champion, if as many labelled rows were there then."""
    own = [d.facts.trial for d in past if d.facts.trial is not None and d.facts.generation == champion.generation]
    return own[-1] if own and own[-1].n == n else None


def end(decision: Decision, home: Home) -> Promotion:
    """Take the champion back that a decision is about; done already, it stays done.

    Raises `Conflict` where the champion is another one by now.
    """
    why = f"decision {decision.key[:12]}: {decision.reason}"
    return promote.rollback(decision.name, why, home, f"the monitor, for {ledger.whoever()}", decision.facts.generation)


def wanted(last: Decision, at: str, home: Home) -> Decision | None:
    """Return the decision that waits for someone to act upon it, `last` being the newest: a rollback, or a retrain."""
    return last if due(last, home) else book.at(home).waiting(last, at)


def due(decision: Decision, home: Home) -> bool:
    """Say whether a decision asks for a rollback that nobody has done yet."""
    champion = ledger.at(home).champion(decision.name)
    generation = champion.generation if champion else 0
    return decision.outcome == "rollback" and decision.facts.generation == generation
