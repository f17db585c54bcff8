"""What a start model is to learn, in its own words where they are right: the data of S3FT and of its ablations.

S3FT (arXiv 2502.08130) replaces the gold answer of every row: by the model's own greedy answer where the judge accepts
it, else by the model's paraphrase of the gold answer where the judge accepts that, else it stays. Only answers change:
every row keeps the prompt that training and use share, and nothing of the paraphrase prompt is ever learned.

| arm | target |
|---|---|
| `s3ft` | own answer, else paraphrase, else gold |
| `sdft` | paraphrase, else gold (arXiv 2402.13669) |
| `self-else-gold` | own answer, else gold |
| `self-only` | own answer; the other rows are dropped |
| `gold-on-self-subset` | gold, on the rows that `self-only` keeps: tells an easy subset from one's own wording |

The paper's exact rules of the judges, its prompts and its decoding could not be read: those here, greedy, are inferred.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from holdfast.errors import BadInput
from holdfast.generation import encoding, greedy, leaks, likelihood, prompts
from holdfast.judges._case import Case

if TYPE_CHECKING:
    from holdfast.generation.judging import Judge
    from holdfast.home import Home
    from holdfast.models import Model
    from holdfast.records import Start
    from holdfast.rows import Row

Arm = Literal["s3ft", "sdft", "self-else-gold", "self-only", "gold-on-self-subset"]
SOURCE = "target_source"  # the column that says where a row's answer comes from: self, paraphrase or gold
_VERDICT = 16  # tokens of a model judge's verdict


@dataclass(frozen=True)
class Settings:
    """Which arm, the user's own paraphrase prompt if any, how answers are generated, and the longest training row.

    `max_length` bounds prompt and target together, in tokens: a longer answer of the model's own is not taken.
    """

    arm: Arm = "s3ft"
    paraphrase: Path | None = None
    generate: greedy.Settings = field(default_factory=greedy.Settings)
    max_length: int | None = None


@dataclass(frozen=True)
class Targets:
    """The rows to train on, in their order, and what is known about where their answers come from.

    `log` has `shares` (self, paraphrase, gold, and dropped, of all rows), `refused` ({source: {reason: rows}}), and
    for the targets and for the same rows' gold answers the mean length in tokens (with the end-of-turn token) and the
    negative log-likelihood per token under the start model, over all rows and by source.
    """

    rows: list[Row]
    log: dict[str, Any]


def build(start: Start, model: Model, rows: Sequence[Row], judge: Judge, settings: Settings, home: Home) -> Targets:
    """Return the targets of `rows` (each with `prompt` and `answer`); the same arguments give the same rows.

    Raises `BadInput` for a gold answer that the judge cannot judge by, a prompt that is too long, and where no row
    would be left.
    """
    judge.check(rows)
    maker = _Maker(start, model, judge, settings, home)
    everything = list(range(len(rows)))
    own = {} if settings.arm == "sdft" else maker.own(rows, everything)
    said = {i: ("self", text) for i, text in own.items()}
    if settings.arm in ("s3ft", "sdft"):
        left = [i for i in everything if i not in own]
        said |= {i: ("paraphrase", text) for i, text in maker.paraphrased(rows, left).items()}
    if settings.arm in ("self-only", "gold-on-self-subset"):
        everything = sorted(own)
    if not everything:
        what = "the start model answers no row as the judge wants it, so nothing would be learned"
        raise BadInput(what, key="examples", remedy="Choose another arm, or look at the judge.")
    if settings.arm == "gold-on-self-subset":
        said = {}
    chosen = {i: said.get(i, ("gold", str(rows[i]["answer"]))) for i in everything}
    made = [{**rows[i], "answer": text, SOURCE: source} for i, (source, text) in chosen.items()]
    return Targets(made, maker.log(made, [rows[i] for i in chosen], len(rows)))


class _Maker:
    """Asks one model, and counts why it was not heard."""

    def __init__(self, start: Start, model: Model, judge: Judge, settings: Settings, home: Home) -> None:
        self.start, self.model, self.judge, self.settings, self.home = start, model, judge, settings, home
        self.encoder = encoding.Encoder(model.tokenizer, settings.max_length, settings.generate.cut_prompt)
        self.refused: dict[str, Counter[str]] = {}

    def own(self, rows: Sequence[Row], which: list[int]) -> dict[int, str]:
        """Return the model's own accepted answers by row."""
        asked = [str(rows[i]["prompt"]) for i in which]
        said = greedy.kept(self.start, self.model, asked, self.settings.generate, self.home)
        reasons = [self._unfit(rows[i], answer) for i, answer in zip(which, said, strict=True)]
        return self._accepted("self", rows, which, said, reasons)

    def paraphrased(self, rows: Sequence[Row], which: list[int]) -> dict[int, str]:
        """Return the model's accepted paraphrases of the gold answers by row."""
        scaffold = prompts.read("paraphrase", self.settings.paraphrase)
        asked = {i: prompts.fill(scaffold, prompt=str(rows[i]["prompt"]), gold=str(rows[i]["answer"])) for i in which}
        how = replace(self.settings.generate, max_length=None, cut_prompt=False)
        fitting = [i for i in which if greedy.fits(self.model, asked[i], how)]
        if len(fitting) < len(which):
            self.refused["paraphrase"] = Counter({"prompt too long": len(which) - len(fitting)})
        said = greedy.kept(self.start, self.model, [asked[i] for i in fitting], how, self.home)
        reasons = [self._unfit(rows[i], answer, scaffold) for i, answer in zip(fitting, said, strict=True)]
        return self._accepted("paraphrase", rows, fitting, said, reasons)

    def _unfit(self, row: Row, answer: greedy.Answer, scaffold: str | None = None) -> str | None:
        """Return why an answer cannot be a target whatever the judge says, or None."""
        if not answer.finished:
            return "unfinished"
        if not answer.text.strip():
            return "empty"
        if scaffold and leaks.leak(answer.text, str(row["prompt"]), str(row["answer"]), scaffold):
            return "leaks the prompt"
        try:
            self.encoder.pair(str(row["prompt"]), answer.text)
        except BadInput:
            return "too long"
        return None

    def _accepted(
        self,
        source: str,
        rows: Sequence[Row],
        which: list[int],
        said: list[greedy.Answer],
        reasons: list[str | None],
    ) -> dict[int, str]:
        """Return what the judge accepts of the answers that nothing else speaks against, and count the rest."""
        fit = [(i, answer.text) for i, answer, reason in zip(which, said, reasons, strict=True) if reason is None]
        verdicts = self.judge.verdicts([Case(text, dict(rows[i]), i + 1) for i, text in fit], self._ask)
        counted = self.refused.setdefault(source, Counter())
        counted.update(reason for reason in reasons if reason is not None)
        counted.update("judged wrong" for verdict in verdicts if not verdict)
        return {i: text for (i, text), verdict in zip(fit, verdicts, strict=True) if verdict}

    def _ask(self, asked: Sequence[str]) -> list[str]:
        """Return the model's answers to a judge's prompts; one that is too long gets none, which no judge accepts."""
        how = replace(self.settings.generate, max_new_tokens=_VERDICT, max_length=None, cut_prompt=False)
        fitting = [i for i, prompt in enumerate(asked) if greedy.fits(self.model, prompt, how)]
        said = greedy.kept(self.start, self.model, [asked[i] for i in fitting], how, self.home)
        found = dict(zip(fitting, (answer.text for answer in said), strict=True))
        return [found.get(i, "") for i in range(len(asked))]

    def log(self, made: Sequence[Row], gold: Sequence[Row], total: int) -> dict[str, Any]:
        """Return what `Targets.log` holds."""
        sources: np.ndarray = np.array([row[SOURCE] for row in made])
        shares = {name: float(np.sum(sources == name)) / total for name in ("self", "paraphrase", "gold")}
        refused = {source: dict(sorted(reasons.items())) for source, reasons in self.refused.items()}
        targets, before = self._scored(made), self._scored(gold)
        by_source = {str(name): _summary(targets[sources == name]) for name in np.unique(sources)}
        return {
            "arm": self.settings.arm,
            "rows": len(made),
            "shares": {**shares, "dropped": 1 - len(made) / total},
            "refused": refused,
            "targets": {**_summary(targets), "by_source": by_source},
            "gold": _summary(before),
        }

    def _scored(self, rows: Sequence[Row]) -> np.ndarray:
        """Return each row's log-probability and length in tokens under the start model, [rows, 2]."""
        encoded = [self.encoder.pair(str(r["prompt"]), str(r["answer"]), n) for n, r in enumerate(rows, 1)]
        compute = likelihood.Compute(precision=self.settings.generate.precision)
        return likelihood.kept(self.start, self.model, encoded, compute, self.home)


def _summary(scored: np.ndarray) -> dict[str, float]:
    return {"nll": float(-scored[:, 0].sum() / scored[:, 1].sum()), "tokens": float(scored[:, 1].mean())}
