"""The select stage where `parameters` is `auto`: rank candidates, try the best of them briefly, choose one.

The trials are successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943) in two rounds of equal cost: the
shortlist for a few updates each, then the best third, at least two, for several times as many; up to three candidates
take one round. Each trial starts from the start model and is compared on `valid` by its `worth`: what its gain would be
if it were drawn back towards the start model as far as the contracts ask. Equal ones go by log-loss. Not log-loss
first: after a few updates it says mostly how sure of itself the model is, which high layers change sooner than low
ones. Work is counted in training tokens, not seconds, so the same inputs give the same choice.

No candidate is put behind another merely because it broke a contract in a trial, as a first rule had it. The first
updates at the full rate make almost all of them forget for a while, whatever they come to in the end, so that rule
chose what hardly moves (`docs/auto.md`). Neither rule promises that the whole tuning keeps a contract.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from holdfast import choices, progress, selection
from holdfast.auto import candidates, picture
from holdfast.errors import BadInput
from holdfast.importance import read
from holdfast.training import job, tune

if TYPE_CHECKING:
    from holdfast.auto.candidates import Candidate
    from holdfast.auto.trial import Trials
    from holdfast.choices import Choices
    from holdfast.forgetting.watch import Look
    from holdfast.home import Home
    from holdfast.records import Assessed, Selected, Start, Validated
    from holdfast.spec import Recipe, Remember

_FEW = 3  # so many are tried in one round, each for longer
EVIDENCE, PICTURE = "auto.json", "auto.png"
_WORST = (-math.inf, -math.inf)
_DIGITS = 6


@dataclasses.dataclass
class Tried:
    """A candidate on the shortlist and its trials: (updates, tokens, the look at the end or None where it diverged)."""

    candidate: Candidate
    trials: list[tuple[int, int, Look | None]] = dataclasses.field(default_factory=list)

    @property
    def look(self) -> Look | None:
        """The look after the latest trial."""
        return self.trials[-1][2] if self.trials else None

    @property
    def rank(self) -> tuple[float, ...]:
        """What candidates of one round are ordered by, larger is better."""
        return (worth(self.look), -self.look.loss) if self.look else _WORST


def worth(look: Look) -> float:
    """Return the gain in accuracy that is left when drops are drawn back to what contracts allow on `valid`.

    Along the line to the start model gain and drops shrink together, taken here to do so alike; allowed is half the
    margin, as for `Look.kept`. The rule is ours. What was lost on the target is lost.
    """
    allowed = [(task.margin / 2, task.drop) for task in look.remembered if task.margin is not None]
    share = min((most / drop for most, drop in allowed if drop > most), default=1.0)
    return round(look.gain * share if look.gain > 0 else look.gain, _DIGITS)


def choose(
    assessed: Assessed,
    validated: Validated,
    start: Start,
    parameters: Choices,
    recipe: Recipe,
    remember: Sequence[Remember],
    home: Home,
    teacher: Start | None = None,
) -> Selected:
    """Return the plan of what moves, with `auto.json` and `auto.png`, the evidence, in its artifact.

    Raises `BadInput` where no candidate moves little enough, or the budget allows not one update for each.
    """
    from holdfast.auto import trial

    options = choices.options("parameters", "auto", parameters["auto"])
    given = job.Given(None, assessed, validated, start, recipe, remember, home, teacher)
    model = tune.start_model(given)
    found = candidates.ranked(model, read.load(home, assessed), options.candidates or candidates.FAMILIES)
    listed = [Tried(one) for one in candidates.shortlist(candidates.under(found, options.share), options.most)]
    trials = trial.Trials(given, model)
    chosen = probe(trials, listed, options.budget)
    model.network.to("cpu")
    evidence = _evidence(found, listed, chosen, trials, options)
    plan = dataclasses.replace(chosen.candidate.selection, notes=(evidence["why"],), seed=recipe.training.seed)
    beside = {EVIDENCE: json.dumps(evidence, indent=1, sort_keys=True).encode(), PICTURE: picture.draw(evidence)}
    return selection.keep(plan, model, parameters, home, beside)


def probe(trials: Trials, listed: list[Tried], budget: float) -> Tried:
    """Try the candidates in the planned rounds, note what came out with each, and return the best of the last round."""
    plan = rounds(trials.tokens, len(listed), budget)
    total, done, field = sum(size * updates for size, updates in plan), 0, listed
    for size, updates in plan:
        field = sorted(field, key=lambda one: one.rank, reverse=True)[:size]
        for tried in field:
            look = trials.run(tried.candidate.selection, updates, _bar(done, total))
            tried.trials.append((updates, trials.tokens[updates], look))
            done += updates
    return max(field, key=lambda one: one.rank)


def rounds(tokens: Sequence[int], count: int, budget: float) -> list[tuple[int, int]]:
    """Return (candidates, updates of each) per round, so that all see at most `budget` of the full tuning's tokens.

    `tokens[u]` are those that the first u updates see, the last entry those of the full tuning, which no trial
    exceeds. What a round leaves over goes to the next. One candidate needs no trial. Raises `BadInput` when the budget
    allows not one update for each.
    """
    sizes = [] if count < 2 else [count] if count <= _FEW else [count, max(2, count // 3)]
    left, found = budget * tokens[-1], []
    for number, size in enumerate(sizes):
        each = left / (len(sizes) - number) / size
        updates = sum(seen <= each for seen in tokens) - 1
        if updates < 1:
            raise BadInput(
                f"the budget allows no update for each of {size} candidates",
                key="parameters.auto.budget",
                expected=f"at least {len(sizes) * size * tokens[1] / tokens[-1]:.3f}",
                remedy="Or try fewer candidates: parameters.auto.most.",
            )
        found.append((size, updates))
        left -= size * tokens[updates]
    return found


def _bar(done: int, total: int) -> job.Progress:
    """Return what a trial reports its updates to, `done` of all trials' `total` having been made before it."""
    return lambda step, of, figures: progress.report("select", done + step, total, figures)


def _evidence(
    found: list[Candidate], listed: list[Tried], chosen: Tried, trials: Trials, options: Any
) -> dict[str, Any]:
    """Return what `auto.json` holds; no times, so that the same choice gives the same bytes."""
    tried = {one.candidate.family: one for one in listed}
    spent = sum(tokens for one in listed for _, tokens, _ in one.trials)
    full = {"updates": len(trials.tokens) - 1, "tokens": trials.tokens[-1]}
    described = [
        {
            "rank": rank,
            **one.document(),
            "verdict": _verdict(one, tried, chosen, options),
            "trials": [_trial(*each) for each in tried[one.family].trials] if one.family in tried else [],
        }
        for rank, one in enumerate(found, 1)
    ]
    return {
        "chosen": chosen.candidate.family,
        "why": _why(chosen, listed),
        "options": options.model_dump(mode="json"),
        "work": {"full": full, "spent": {"tokens": spent, "share": round(spent / trials.tokens[-1], 6)}},
        "candidates": described,
    }


def _trial(updates: int, tokens: int, look: Look | None) -> dict[str, Any]:
    seen = {"look": look.document(), "worth": worth(look)} if look else {"look": None, "worth": None}
    return {"updates": updates, "tokens": tokens, **seen}


def _verdict(one: Candidate, tried: dict[str, Tried], chosen: Tried, options: Any) -> str:
    if one is chosen.candidate:
        return "chosen"
    if one.share > options.share:
        return "not tried: moves too much"
    if one.family not in tried:
        return "not tried: ranked too low"
    look = tried[one.family].look
    if look is None:
        return "diverged"
    return "tried" if look.kept else "tried: broke a contract"


def _why(chosen: Tried, listed: list[Tried]) -> str:
    """Return the choice and its reason as one sentence."""
    name, look = chosen.candidate.family, chosen.look
    if not chosen.trials:
        return f"auto chose `{name}`: it is the only candidate under the share"
    if look is None:
        return f"auto chose `{name}`, though every trial diverged: lower training.learning_rate"
    last = len(chosen.trials)
    rivals = [one.candidate.family for one in listed if len(one.trials) == last and one is not chosen]
    gain = (
        f"its gain of {100 * look.gain:+.1f} points on {look.target.n} valid rows after {chosen.trials[-1][0]} updates"
    )
    left = f", {100 * worth(look):+.1f} drawn back as far as contracts ask," if not look.kept else ""
    return f"auto chose `{name}`: {gain}{left} is the best in the last round (against {', '.join(rivals)})"
