"""What papers claim, and what this benchmark can say of it: seen, not seen, or not testable here or at this size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from holdfast.comparison.arms import REFERENCE

Document = dict[str, Any]
Documents = dict[str, Document]
Difference = tuple[float, float, float]  # mean, low, high in points; above 0 is what the claim says
NOT_MEASURED, NOT_TESTABLE, ONE_TUNING = "not yet measured", "not testable at this size", "not testable here"
_RANDOM = "ct-sft:parameters.circuit={kind: random"


@dataclass(frozen=True)
class Versus:
    """How an arm does against another (all that begin so); `points` is above 0 where it does better.

    Calling it gives that difference, or None where an arm has not run.
    """

    arm: str
    other: str
    points: Callable[[Document], Difference | None]

    def __call__(self, document: Document) -> Difference | None:
        """Return the difference."""
        return self.points(document)

    def arms(self, document: Document) -> list[dict[str, Any]]:
        """Return the arm, and those that it is compared with."""
        ours = _arm(document, self.arm)
        return [ours, *_others(document, self.other, ours)] if ours else []


@dataclass(frozen=True)
class Claim:
    """A claim of a paper, the part of the benchmark that could show it, and how it is measured there.

    Without `measure` `why` says why the claim cannot be tested here.
    """

    paper: str
    says: str
    part: str = ""
    measure: Versus | None = None
    why: str = ""


def judged(claim: Claim, documents: Documents) -> tuple[str, str]:
    """Return the verdict on a claim, and the number that it rests on.

    There is none where both arms have the same scores at every seed. A rate at the end of the grid is told, since a
    better one may lie outside.
    """
    if claim.measure is None:
        return NOT_TESTABLE, claim.why
    document = documents.get(claim.part)
    found = claim.measure(document) if document else None
    if document is None or found is None:
        return NOT_MEASURED, "-"
    arms = claim.measure.arms(document)
    if all(_scores(arm) == _scores(arms[0]) for arm in arms):
        return ONE_TUNING, f"both made the same rows on {claim.part}: equal scores at every seed"
    mean, low, high = found
    number = f"{mean:+.1f} ({low:+.1f} to {high:+.1f}) on {claim.part}{_ends(arms, document)}"
    if low > 0:
        return "seen", number
    return ("not seen, the opposite is", number) if high < 0 else ("not seen", number)


def keeps_more(arm: str) -> Versus:
    """Say how much more of what is remembered an arm keeps than `sft` (the first remembered task)."""
    return Versus(arm, REFERENCE, lambda document: _points(_task(document, arm), "against"))


def learns_more(arm: str) -> Versus:
    """Say how much higher an arm's target score is than that of `sft`."""
    return Versus(arm, REFERENCE, lambda document: _points((_arm(document, arm) or {}).get("target"), "against"))


def learns_more_than(arm: str, other: str) -> Versus:
    """Say how much higher an arm's target score is than that of another (all that begin so), paired by seed."""
    return Versus(arm, other, lambda document: _paired(document, arm, other, lambda run: run["target"]))


def keeps_more_than(arm: str, other: str) -> Versus:
    """Say how much more an arm keeps than another (all that begin so), paired by seed."""
    return Versus(arm, other, lambda document: _paired(document, arm, other, _kept))


def _kept(run: dict[str, Any]) -> float:
    return float(np.mean(list(run["remembered"].values())))


def _scores(arm: dict[str, Any]) -> dict[int, Any]:
    """Return what an arm scored at every seed."""
    return {run["seed"]: (run["target"], run["remembered"]) for run in arm["runs"]}


def _ends(arms: list[dict[str, Any]], document: Document) -> str:
    """Say which of the arms took a rate at an end of the grid."""
    said, grid = "", document["grid"]
    for end, word in ((min(grid), "lowest"), (max(grid), "highest")):
        names = [_short(arm["name"], document) for arm in arms if arm["edge"] and arm["factor"] == end]
        said += f"; {word} rate of the grid: {', '.join(names)}" if names else ""
    return said


def _short(name: str, document: Document) -> str:
    """Return an arm's name without its settings, where that is enough to tell it from others."""
    presets = [arm["name"].partition(":")[0] for arm in document["arms"]]
    preset = name.partition(":")[0]
    return preset if presets.count(preset) == 1 else name


def _arm(document: Document, name: str) -> dict[str, Any] | None:
    """Return the arm of a name, else the first with settings of its own (`name:key=value`), where it was tuned."""
    known = [arm for arm in document["arms"] if arm["target"]]
    return next((arm for arm in known if arm["name"] == name), None) or next(
        (arm for arm in known if arm["name"].startswith(f"{name}:")), None
    )


def _others(document: Document, other: str, ours: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the arm of a name, else all that begin so."""
    known = [arm for arm in document["arms"] if arm["target"] and arm is not ours]
    same = [arm for arm in known if arm["name"] == other]
    return same or [arm for arm in known if arm["name"].startswith(other)]


def _task(document: Document, name: str) -> dict[str, Any] | None:
    arm = _arm(document, name)
    return arm["remembered"][0] if arm and arm["remembered"] else None


def _points(described: dict[str, Any] | None, key: str) -> Difference | None:
    interval = described and described[key]
    return (100 * interval["mean"], 100 * interval["low"], 100 * interval["high"]) if interval else None


def _paired(document: Document, arm: str, other: str, value: Callable[[Any], float]) -> Difference | None:
    """Return the mean difference with its 95% t interval over seeds; several others are averaged."""
    ours = _arm(document, arm)
    others = _others(document, other, ours) if ours else []
    if ours is None or not others:
        return None
    own = {run["seed"]: value(run) for run in ours["runs"]}
    theirs = [{run["seed"]: value(run) for run in one["runs"]} for one in others]
    seeds = sorted(set(own).intersection(*theirs))
    if len(seeds) < 2:
        return None
    differences = [100 * (own[seed] - float(np.mean([one[seed] for one in theirs]))) for seed in seeds]
    half = float(stats.t.ppf(0.975, len(seeds) - 1) * stats.sem(differences))
    mean = float(np.mean(differences))
    return mean, mean - half, mean + half


_S3FT, _CT, _PSFT = "S3FT, arXiv 2502.08130", "CT-SFT, arXiv 2601.08146", "PSFT, arXiv 2508.17784"
_TARGET = "Target-SFT, arXiv 2606.11189"
CLAIMS = (
    Claim(_S3FT, "forgets less than SFT", "exercises", keeps_more("s3ft")),
    Claim(_S3FT, "learns the task better than SFT", "exercises", learns_more("s3ft")),
    Claim(_S3FT, "learns the task better than SDFT", "restyled", learns_more_than("s3ft", "sdft")),
    Claim(_S3FT, "56.9 on GSM8K with Mistral-7B", why="needs a model of 7B parameters"),
    Claim(_CT, "keeps the source language better than full tuning", "javanese", keeps_more("ct-sft")),
    Claim(_CT, "heads of the circuit learn more than random heads", "javanese", learns_more_than("ct-sft", _RANDOM)),
    Claim(_CT, "heads of the circuit keep more than random heads", "javanese", keeps_more_than("ct-sft", _RANDOM)),
    Claim(_CT, "keeps more than LoRA with as many weights", "equal-size", keeps_more_than("ct-sft", "lora")),
    Claim(_PSFT, "keeps more than SFT (classification)", "javanese", keeps_more("psft")),
    Claim(_PSFT, "keeps more than SFT (generation)", "exercises", keeps_more("psft")),
    Claim(_PSFT, "a better start for reinforcement learning", why="there is no reinforcement learning here"),
    Claim(_TARGET, "learns more than SFT (classification)", "javanese", learns_more("target-sft")),
    Claim(_TARGET, "learns more than SFT (generation)", "exercises", learns_more("target-sft")),
    Claim(_TARGET, "learns more than DFT", "javanese", learns_more_than("target-sft", "dft")),
    Claim(_TARGET, "27.0 against 13.0 on NuminaMath with Qwen3-1.7B", why="needs a model of 1.7B parameters"),
    Claim("DFT, arXiv 2508.05629", "learns more than SFT", "exercises", learns_more("dft")),
    Claim("ASFT, arXiv 2509.23753", "keeps more than SFT", "javanese", keeps_more("asft")),
    Claim("EWC, Kirkpatrick et al. 2017", "forgets less than plain tuning", "javanese", keeps_more("ewc")),
    Claim("LwF, arXiv 1606.09282", "forgets less than plain tuning", "javanese", keeps_more("lwf")),
    Claim("WiSE-FT, arXiv 2109.01903", "keeps more than plain tuning", "javanese", keeps_more("wise-ft")),
    Claim("Replay, textbook", "forgets less than plain tuning", "javanese", keeps_more("replay")),
    Claim("LoRA, arXiv 2405.09673", "forgets less than full tuning", "javanese", keeps_more("lora")),
    Claim("ULMFiT, arXiv 1801.06146", "learns more than plain tuning", "javanese", learns_more("ulmfit")),
    Claim("SHiRA, arXiv 2406.13175", "a random mask keeps more than full tuning", "javanese", keeps_more("shira")),
)  # fmt: skip


def table(documents: Documents) -> list[str]:
    """Return the lines of the reproduction table."""
    lines = ["| paper | claim | verdict | number: points, above 0 is what the claim says |", "|---|---|---|---|"]
    for claim in CLAIMS:
        verdict, number = judged(claim, documents)
        lines.append(f"| {claim.paper} | {claim.says} | {verdict} | {number} |")
    return lines
