"""Promotion and rollback by hand: a person's decision, with the reason on record."""

from __future__ import annotations

from holdfast.errors import BadInput
from holdfast.home import Home
from holdfast.records import Registered
from holdfast.registry import aliases, catalogue, gate, ledger, tracking
from holdfast.registry.ledger import Ledger, Promotion


def promote(name: str, version: str, why: str, home: Home) -> Promotion:
    """Make a version champion by hand, even one that the gate refused (the entry says so); return the ledger's entry.

    Raises `BadInput` without a reason, for an unknown version or the present champion; `Conflict` when someone else
    promoted meanwhile; `Corrupt` when the adapter is not what its digest says.
    """
    reason = _reason(why)
    client, book = tracking.client(home), ledger.at(home)
    found = catalogue.get(client, name, version)
    aliases.reconcile(client, book, name)
    champion = book.champion(name)
    if champion is not None and champion.version == version:
        raise BadInput(f"version {version} is the champion of `{name}` already (generation {champion.generation})")
    digest = found.tags[catalogue.DIGEST]
    one = Registered(name=name, version=version, run_id=found.run_id, digest=digest)
    gate.verify(client, one, home)
    reason = f"by hand: {reason}{_refusal(book, one)}"
    expected = champion.generation if champion else 0
    entry = book.promote(name, version, digest, expected, reason, ledger.whoever(), found.run_id)
    catalogue.mark(client, one, {catalogue.BY_HAND: reason})
    aliases.reconcile(client, book, name)
    aliases.challenge(client, name, version, refused=False)
    return entry


def rollback(name: str, why: str, home: Home) -> Promotion:
    """Give `name` its previous champion back, as one more generation; return the ledger's entry.

    Raises `BadInput` without a reason or a champion to go back to, `Corrupt` when that one's adapter is damaged.
    """
    reason = _reason(why)
    client, book = tracking.client(home), ledger.at(home)
    catalogue.known(client, name)
    standing = book.standing(name)
    if len(standing) > 1:
        back = standing[-2]
        gate.verify(client, Registered(name=name, version=back.version, run_id=back.run_id, digest=back.digest), home)
    entry = book.rollback(name, reason, ledger.whoever())
    aliases.reconcile(client, book, name)
    return entry


def _reason(why: str) -> str:
    if not why.strip():
        raise BadInput("the reason is empty", key="--why", expected="why, in words that someone else understands")
    return why.strip()


def _refusal(book: Ledger, version: Registered) -> str:
    """Return a remark on the gate's last word, where that was a refusal."""
    said = book.decisions(version.name, version.version)
    return f" (the gate had refused it: {said[-1].reason})" if said and said[-1].verdict == "refused" else ""
