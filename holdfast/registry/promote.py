"""Promotion and rollback by hand: a person's decision, with the reason on record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from holdfast.errors import BadInput
from holdfast.home import Home
from holdfast.records import Registered
from holdfast.registry import aliases, catalogue, gate, ledger, tracking
from holdfast.registry.ledger import Ledger, Promotion

if TYPE_CHECKING:
    from mlflow import MlflowClient


BY_HAND = "by hand"


def promote(name: str, version: str, why: str, home: Home) -> Promotion:
    """Make a version champion by hand, even one that the gate refused (the entry says so); return the ledger's entry.

    Said again with the same reason it changes nothing, but completes what a killed one left undone. Raises `BadInput`
    without a reason, for an unknown version or the present champion; `Conflict` when someone else promoted meanwhile;
    `Corrupt` when the adapter is not what its digest says.
    """
    reason = _reason(why)
    client, book = tracking.client(home), ledger.at(home)
    found = catalogue.get(client, name, version)
    one = Registered(name=name, version=version, run_id=found.run_id, digest=found.tags[catalogue.DIGEST])
    aliases.reconcile(client, book, name)
    reason = f"{BY_HAND}: {reason}{_refusal(book, one)}"
    entry = _insert(client, book, one, reason, home)
    catalogue.mark(client, one, {catalogue.BY_HAND: reason})
    aliases.reconcile(client, book, name)
    aliases.challenge(client, name, version, refused=False)
    return entry


def _insert(client: MlflowClient, book: Ledger, one: Registered, reason: str, home: Home) -> Promotion:
    """Insert the next generation, unless this very promotion is the last one."""
    champion = book.champion(one.name)
    if champion is not None and champion.version == one.version:
        if (champion.action, champion.why) == ("promote", reason):
            return champion
        raise BadInput(
            f"version {one.version} is the champion of `{one.name}` already (generation {champion.generation})"
        )
    gate.verify(client, one, home)
    expected = champion.generation if champion else 0
    return book.promote(one.name, one.version, one.digest, expected, reason, ledger.whoever(), one.run_id)


def rollback(name: str, why: str, home: Home, who: str | None = None, expected: int | None = None) -> Promotion:
    """Give `name` its previous champion back, as one more generation; return the ledger's entry.

    A rollback that was killed before the alias followed is completed, not done a second time, and so is one of the
    `expected` generation (None: whichever there is). Raises `BadInput` without a reason or a champion to go back to,
    `Conflict` when someone else changed the champion meanwhile, `Corrupt` when the adapter to go back to is damaged.
    """
    reason = _reason(why)
    client, book = tracking.client(home), ledger.at(home)
    catalogue.known(client, name)
    entries = book.history(name)
    if _cut_short(client, entries) or _done(entries, expected):
        aliases.reconcile(client, book, name)
        return entries[-1]
    standing = ledger.stand(entries)
    if len(standing) > 1:
        back = standing[-2]
        gate.verify(client, Registered(name=name, version=back.version, run_id=back.run_id, digest=back.digest), home)
    met = entries[-1].generation if entries else None
    entry = book.rollback(name, reason, who or ledger.whoever(), met if expected is None else expected)
    aliases.reconcile(client, book, name)
    return entry


def _done(entries: Sequence[Promotion], expected: int | None) -> bool:
    """Say whether the last entry is the rollback of the expected generation."""
    return bool(entries) and entries[-1].action == "rollback" and entries[-1].expected_generation == expected


def _cut_short(client: MlflowClient, entries: Sequence[Promotion]) -> bool:
    """Say whether the last entry is a rollback that MLflow's alias did not follow yet: nobody has looked since."""
    if len(entries) < 2 or entries[-1].action != "rollback":
        return False
    before, last = entries[-2:]
    return aliases.current(client, last.name).get(aliases.CHAMPION) == before.version


def _reason(why: str) -> str:
    if not why.strip():
        raise BadInput("the reason is empty", key="--why", expected="why, in words that someone else understands")
    return why.strip()


def _refusal(book: Ledger, version: Registered) -> str:
    """Return a remark on the gate's last word, where that was a refusal."""
    said = book.decisions(version.name, version.version)
    return f" (the gate had refused it: {said[-1].reason})" if said and said[-1].verdict == "refused" else ""
