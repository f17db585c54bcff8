"""What a comparison found, as one JSON-able document: every arm with intervals, and which are on the frontier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from holdfast.comparison import intervals
from holdfast.comparison.arms import REFERENCE, START
from holdfast.comparison.units import NATS, Judged, Looked, Outcome, best
from holdfast.forgetting import watch

CONFIDENCE = 0.95
_ALIKE = 5e-4  # means are kept rounded


@dataclass(frozen=True)
class Found:
    """The results of one arm: a look per rate, and what its test items say per seed."""

    arm: str
    looked: tuple[Looked, ...] = ()
    judged: tuple[Judged, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def whole(self) -> list[Judged]:
        """The seeds that did not diverge, in order."""
        return sorted((one for one in self.judged if one.target is not None), key=lambda one: one.seed)


def document(pipeline: str, found: Sequence[Found], grid: Sequence[float], notes: Sequence[str]) -> dict[str, Any]:
    """Return the comparison; the start model comes first, as the arm that changes nothing.

    Differences are paired: of an arm and the start model on the same items, and of an arm and the reference arm on the
    same items at the same seeds (`against`).
    """
    judged = [one for arm in found for one in arm.whole]
    reference = next((arm for arm in found if arm.arm == REFERENCE and arm.whole), None)
    arms = [_arm(arm, reference, grid) for arm in found]
    start = _start(judged[0]) if judged else None
    points = {arm["name"]: _point(arm) for arm in [*([start] if start else []), *arms] if arm["target"]}
    front = frontier(points)
    for arm in arms:
        arm["frontier"] = arm["name"] in front
    if start:
        start["frontier"] = START in front
    return {
        "pipeline": pipeline,
        "confidence": CONFIDENCE,
        "grid": list(grid),
        "seeds": sorted({one.seed for one in judged}),
        "reference": REFERENCE if reference else None,
        "updates": sorted({one.steps for one in judged}),
        "metric": judged[0].target.metric if judged and judged[0].target else None,
        "arms": [*([start] if start else []), *arms],
        "notes": [*notes, *_alike(found), *_other_starts(start, arms)],
    }


def _other_starts(start: dict[str, Any] | None, arms: Sequence[dict[str, Any]]) -> list[str]:
    """Return what is to be said of arms whose start model scored otherwise: those ran on another kind of processor."""
    if start is None:
        return []
    known = [start["target"]["after"], *(task["after"] for task in start["remembered"])]
    others: dict[str, list[str]] = {}
    for arm in (one for one in arms if one["target"]):
        own = [arm["target"]["after"] - arm["target"]["gain"]["mean"]]
        own += [task["after"] + task["drop"]["mean"] for task in arm["remembered"]]
        if not np.allclose(own, known, rtol=0, atol=_ALIKE):
            others.setdefault(_listed(own), []).append(f"`{arm['name'].partition(':')[0]}`")
    return [
        f"before {', '.join(names)} the start model scored {own} instead of {_listed(known)} (another processor):"
        f" these gains and drops are against that"
        for own, names in others.items()
    ]


def _listed(scores: Sequence[float]) -> str:
    return ", ".join(f"{score:.4f}" for score in scores)


def _alike(found: Sequence[Found]) -> list[str]:
    """Return what is to be said of arms whose adapters are the same bytes at every seed."""
    made: dict[tuple[tuple[int, str | None], ...], list[str]] = {}
    for arm in found:
        adapters = tuple((one.seed, one.adapter) for one in arm.whole)
        if adapters and all(digest for _, digest in adapters):
            made.setdefault(adapters, []).append(f"`{arm.arm}`")
    same = [(", ".join(names), last) for *names, last in made.values() if names]
    return [f"{names} and {last} made the same adapters at every seed: they are one tuning" for names, last in same]


def frontier(points: dict[str, tuple[float, float]]) -> set[str]:
    """Return the names of the points (drop, gain) that no other beats: none drops less and gains as much, or more."""
    return {
        name
        for name, (drop, gain) in points.items()
        if not any(
            other_drop <= drop and other_gain >= gain and (other_drop, other_gain) != (drop, gain)
            for other_drop, other_gain in points.values()
        )
    }


def _point(arm: dict[str, Any]) -> tuple[float, float]:
    return arm["drop"] or 0.0, arm["target"]["gain"]["mean"]


def _start(one: Judged) -> dict[str, Any]:
    """Return the start model as an arm without tuning."""
    nothing = {"mean": 0.0, "low": 0.0, "high": 0.0, "freedom": 0.0}
    assert one.target is not None
    old = [
        {"name": task.name, "metric": task.metric, "after": _mean(task.before), "drop": nothing, "margin": task.margin}
        for task in one.remembered
    ]
    return {
        "name": START,
        "target": {"after": _mean(one.target.before), "gain": nothing, "against": None},
        "remembered": [{**task, "kept": None} for task in old],
        "drop": 0.0 if old else None,
        "share": 0.0,
        "moved": 0,
        "seconds": 0.0,
        "rates": [],
        "diverged": [],
        "runs": [],
    }


def _arm(found: Found, reference: Found | None, grid: Sequence[float]) -> dict[str, Any]:
    whole = found.whole
    chosen = best(found.looked) if found.looked else None
    described: dict[str, Any] = {
        "name": found.arm,
        "settings": found.settings,
        "rates": [_rate(one) for one in sorted(found.looked, key=lambda one: one.factor)],
        "factor": chosen.factor if chosen else None,
        "rate": chosen.rate if chosen else None,
        "edge": bool(chosen and len(grid) > 1 and chosen.factor in (min(grid), max(grid))),
        "diverged": sorted(one.seed for one in found.judged if one.target is None),
        "target": None,
        "remembered": [],
        "drop": None,
    }
    if not whole:
        return described
    tasks = [_remembered(found, reference, i) for i in range(len(whole[0].remembered))]
    described |= {
        "target": _target(found, reference),
        "remembered": tasks,
        "drop": float(np.mean([task["drop"]["mean"] for task in tasks])) if tasks else None,
        "share": whole[0].share,
        "moved": whole[0].moved,
        "seconds": _mean([one.seconds for one in whole]),
        "prepared": _mean([one.prepared for one in whole]),
        "runs": [_run(one) for one in whole],
    }
    return described


def _target(found: Found, reference: Found | None) -> dict[str, Any]:
    targets = {one.seed: one.target for one in found.whole if one.target is not None}
    others = {one.seed: one.target for one in (reference.whole if reference else ()) if one.target is not None}
    outcomes = list(targets.values())
    return {
        "after": _mean([_mean(one.after) for one in outcomes]),
        "gain": _interval([(one.after, one.before) for one in outcomes], outcomes[0].metric),
        "against": _against(targets, others),
    }


def _against(ours: dict[int, Outcome], theirs: dict[int, Outcome]) -> dict[str, float] | None:
    """Return the interval of the scores of an arm minus those of the reference, at the seeds that both have."""
    seeds = sorted(set(ours) & set(theirs))
    if all(ours[seed] is theirs[seed] for seed in seeds):
        return None
    return _interval([(ours[seed].after, theirs[seed].after) for seed in seeds], ours[seeds[0]].metric)


def _remembered(found: Found, reference: Found | None, place: int) -> dict[str, Any]:
    """Return one remembered task over seeds."""
    own = {one.seed: one.remembered[place] for one in found.whole}
    others = {one.seed: one.remembered[place] for one in (reference.whole if reference else ())}
    outcomes = list(own.values())
    first = outcomes[0]
    return {
        "name": first.name,
        "metric": first.metric,
        "margin": first.margin,
        "after": _mean([_mean(one.after) for one in outcomes]),
        "drop": _interval([(one.before, one.after) for one in outcomes], first.metric),
        "against": _against(own, others),
        "kept": [sum(bool(one.kept) for one in outcomes), len(outcomes)],
    }


def _run(one: Judged) -> dict[str, Any]:
    assert one.target is not None
    return {
        "seed": one.seed,
        "target": _mean(one.target.after),
        "remembered": {task.name: _mean(task.after) for task in one.remembered},
        "kl": one.kl,
        "seconds": one.seconds,
    }


def _rate(one: Looked) -> dict[str, Any]:
    """Return what was seen on `valid` at one rate."""
    described: dict[str, Any] = {"factor": one.factor, "rate": one.rate, "gain": None, "drop": None, "kept": None}
    if one.look is None:
        return described
    look = watch.from_document(one.look)
    drops = [task.drop for task in look.remembered]
    return {**described, "gain": look.gain, "drop": float(np.mean(drops)) if drops else None, "kept": look.kept}


def _interval(pairs: Sequence[tuple[Sequence[float], Sequence[float]]], metric: str) -> dict[str, float]:
    """Return the interval of the first minus the second, over seeds and items."""
    table = [np.subtract(first, second) for first, second in pairs]
    return intervals.crossed(table, CONFIDENCE, bounded=metric != NATS).document()


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
