"""The gate: a version is promoted if it gained, kept what it promised, and is not worse than the champion.

The rules are `mlflow/promotion-policy.md`; the decision itself is the ledger's insert.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from holdfast import digests
from holdfast.errors import Conflict, Corrupt
from holdfast.home import Fence, Home
from holdfast.records import ChampionScore, Evaluated, Registered, RememberedScore, Shadow, Verdict
from holdfast.registry import aliases, catalogue, ledger, tracking
from holdfast.registry.ledger import Ledger, Promotion
from holdfast.spec import Gate

if TYPE_CHECKING:
    from mlflow import MlflowClient


def gate(
    registered: Registered, evaluated: Evaluated, settings: Gate, home: Home, shadow: Shadow | None = None
) -> Verdict:
    """Promote a registered version, or refuse it with every reason; asking again changes nothing.

    Promoted iff the lower bound of the target's gain is above `settings.target_gain`, every remembered task is kept,
    the upper bound of the loss against the champion, if there is one, is below `settings.champion_margin`, on the
    newest labelled window too where the version was its `shadow`, and nobody rolled this very adapter back. Raises
    `Conflict` when the champion is not the one that the version was compared with, or changed meanwhile; `Fenced` when
    another run took this one's place; `Corrupt` when the adapter is not what its digest says.
    """
    home.check_fence()
    client, book = tracking.client(home), ledger.at(home)
    entries = book.history(registered.name)
    broken = list(failures(evaluated, settings, entries, registered, shadow))
    if broken:
        verdict = _refused(broken, entries, registered)
    else:
        _check_rival(evaluated.champion, entries, registered)
        verify(client, registered, home)
        reason = "; ".join(merits(evaluated, settings, shadow))
        verdict = _promoted(book, entries, registered, reason, home.fence)
    home.check_fence()
    _record(client, book, registered, evaluated, settings, verdict, shadow)
    return verdict


def failures(
    evaluated: Evaluated,
    settings: Gate,
    entries: Sequence[Promotion],
    registered: Registered,
    shadow: Shadow | None = None,
) -> Iterator[str]:
    """Yield every reason why a version is not promoted, as sentences with their numbers."""
    target = evaluated.target
    if not target.lower > settings.target_gain:
        yield (
            f"the target's gain is {target.gain:+.4f} with the lower bound {target.lower:+.4f}, "
            f"which is not above {settings.target_gain:g} (gate.target_gain)"
        )
    yield from (_forgot(task) for task in evaluated.remembered if not task.kept)
    rival = evaluated.champion
    if rival is not None and not rival.bound < settings.champion_margin:
        yield (
            f"it may be up to {rival.bound:.4f} worse than the champion (version {rival.version}: {rival.before:.4f}, "
            f"this one: {rival.after:.4f}, n = {rival.n}), which is not below {settings.champion_margin:g} "
            "(gate.champion_margin)"
        )
    if shadow is not None and not shadow.holds:
        yield _outshone(shadow)
    back = ledger.rolled_back(entries, registered.digest)
    if back is not None:
        yield (
            f"{back.who} rolled this adapter back in generation {back.generation} ({back.why}); only "
            "`holdfast promote` brings it back"
        )


def _forgot(task: RememberedScore) -> str:
    return (
        f"`{task.name}` was not kept: its {task.metric} went from {task.before:.4f} to {task.after:.4f}, a drop of up "
        f"to {task.bound:.4f} at confidence {task.confidence:g}, which is not below the margin {task.margin:g}"
    )


def _outshone(shadow: Shadow) -> str:
    if shadow.window is None:
        return f"no window has enough labelled rows, learned by neither, to compare with version {shadow.champion} on"
    return (
        f"on the newest labelled window it may be up to {shadow.bound:.4f} worse than the champion (version "
        f"{shadow.champion}: {shadow.before:.4f}, this one: {shadow.after:.4f}, n = {shadow.n}), which is not below "
        f"{shadow.margin:g} (gate.champion_margin)"
    )


def merits(evaluated: Evaluated, settings: Gate, shadow: Shadow | None = None) -> Iterator[str]:
    """Yield why a version is promoted, as sentences with their numbers."""
    target, rival = evaluated.target, evaluated.champion
    yield (
        f"the target's gain is {target.gain:+.4f} with the lower bound {target.lower:+.4f}, above "
        f"{settings.target_gain:g}"
    )
    for task in evaluated.remembered:
        yield f"`{task.name}` was kept: a drop of at most {task.bound:.4f}, below the margin {task.margin:g}"
    if rival is not None:
        yield (
            f"it is at most {rival.bound:.4f} worse than the champion (version {rival.version}), below "
            f"{settings.champion_margin:g}"
        )
    if shadow is not None:
        yield f"on the newest labelled window (n = {shadow.n}) it is at most {shadow.bound:.4f} worse than the champion"


def _check_rival(rival: ChampionScore | None, entries: Sequence[Promotion], registered: Registered) -> None:
    """Raise `Conflict` unless the champion is the adapter that the version was compared with, or the version itself."""
    champion = entries[-1] if entries else None
    if champion is not None and champion.digest == registered.digest:
        return
    compared = {entry.digest for entry in entries if rival is not None and entry.version == rival.version}
    if (champion is None and rival is None) or (champion is not None and champion.digest in compared):
        return
    met = f"version {champion.version} (generation {champion.generation})" if champion else "none"
    raise Conflict(
        f"version {registered.version} of `{registered.name}` was compared with the champion "
        f"{f'version {rival.version}' if rival else 'none'}, and the champion now is {met}; "
        "run the same file again to compare with that one"
    )


def verify(client: MlflowClient, registered: Registered, home: Home) -> None:
    """Raise `Corrupt` unless the registry's copy of the adapter is byte for byte the one with the version's digest."""
    version = catalogue.get(client, registered.name, registered.version)
    found = version.tags[catalogue.DIGEST]
    if found != registered.digest:
        raise Corrupt(
            f"version {registered.version} of `{registered.name}` was registered with the digest {found[:12]}, "
            f"not {registered.digest[:12]}"
        )
    with catalogue.adapter(client, version, home):
        return


def _refused(broken: Sequence[str], entries: Sequence[Promotion], registered: Registered) -> Verdict:
    reason = "; ".join(broken)
    champion = entries[-1] if entries else None
    if champion is not None and champion.version == registered.version:
        reason += f"; it stays champion all the same (generation {champion.generation}) until it is rolled back"
    return Verdict(verdict="refused", reason=reason, generation=None)


def _promoted(
    book: Ledger, entries: Sequence[Promotion], registered: Registered, reason: str, fence: Fence | None
) -> Verdict:
    """Insert the next generation, unless the version is champion already."""
    champion = entries[-1] if entries else None
    if champion is None or (champion.version, champion.digest) != (registered.version, registered.digest):
        champion = book.promote(
            registered.name,
            registered.version,
            registered.digest,
            champion.generation if champion else 0,
            why=reason,
            who=f"the gate, for {ledger.whoever()}",
            run_id=registered.run_id,
            fence=fence,
        )
    return Verdict(verdict="promoted", reason=reason, generation=champion.generation)


def _record(
    client: MlflowClient,
    book: Ledger,
    registered: Registered,
    evaluated: Evaluated,
    settings: Gate,
    verdict: Verdict,
    shadow: Shadow | None,
) -> None:
    """Write the verdict down: in the ledger's decisions, on MLflow's version and run, and in the aliases."""
    seen = [part.model_dump(mode="json") for part in (evaluated, shadow) if part is not None]
    scores = digests.of_json(seen if shadow else seen[0])
    said = {"verdict": verdict.verdict, "reason": verdict.reason}
    book.record_decision(
        registered.name, registered.version, registered.digest, scores, settings.model_dump(mode="json"), **said
    )
    tags = {catalogue.VERDICT: verdict.verdict, catalogue.REASON: verdict.reason}
    catalogue.mark(client, registered, tags | ({catalogue.SHADOW: shadow.model_dump_json()} if shadow else {}))
    aliases.reconcile(client, book, registered.name)
    aliases.challenge(client, registered.name, registered.version, refused=verdict.verdict == "refused")
