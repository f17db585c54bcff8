"""The stage that measures what was learned and what was lost: start, tuned and champion on the same test items."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from holdfast import adapters, digests, rows
from holdfast.forgetting import cka, metrics, picture
from holdfast.forgetting.outcomes import Comparison, Scores
from holdfast.forgetting.scorer import Scorer
from holdfast.generation import comparing
from holdfast.records import (
    Artifact,
    ChampionScore,
    Evaluated,
    RememberedScore,
    Start,
    TargetScore,
    Tuned,
    Validated,
)

if TYPE_CHECKING:
    from holdfast.generation.items import Items
    from holdfast.home import Home
    from holdfast.spec import Learn, Remember, Training

CONFIDENCE = 0.95  # of the target's interval and lower bound, and of the bound on losing to the champion
_CKA_TEXTS = 512


def evaluate(
    tuned: Tuned,
    validated: Validated,
    start: Start,
    champion: Start | None,
    learn: Learn,
    remember: Sequence[Remember],
    training: Training,
    home: Home,
) -> Evaluated:
    """Score the tuned version against the start model and the champion on `learn.test` and every remembered test.

    A head that the start model lacks is compared with always guessing the most frequent label of `learn.train`. A
    remembered task is kept iff the one-sided upper bound of its drop is below its margin. The artifact holds
    `summary.json`, `forgetting.png`, and one row per test item in `target.items.jsonl` and `remember.NAME.items.jsonl`.
    Raises `BadInput` when the start model lacks the head of a remembered task.
    """
    version = Start(
        model=start.model,
        base=start.base,
        adapter=tuned.adapter,
        heads=adapters.info(home.store.open(tuned.adapter)),
        task=start.task,
    )
    target, tasks, alike, rival = _outcomes(start, version, champion, validated, learn, remember, training, home)
    learned = _target(target)
    kept = tuple(_remembered(task, promise) for task, promise in zip(tasks, remember, strict=True))
    kl = {task.name: task.kl for task in (target, *tasks) if task.kl is not None}
    summary = _summary(target, tasks, kl, alike, training.seed)
    return Evaluated(
        target=learned,
        remembered=kept,
        champion=_against(champion, target, rival),
        kl=kl,
        cka=alike,
        artifact=_put(target, tasks, learned, kept, summary, home),
    )


Outcomes = Comparison | comparing.AnswersCompared


def _outcomes(
    start: Start,
    version: Start,
    champion: Start | None,
    validated: Validated,
    learn: Learn,
    remember: Sequence[Remember],
    training: Training,
    home: Home,
) -> tuple[Outcomes, Sequence[Outcomes], float | None, Scores | Items | None]:
    """Return the outcomes of the target and every remembered task, the CKA, and what the champion says to the target.

    Of decoders no CKA is taken. Where the champion is the start model, nothing is asked again.
    """
    asks = champion is not None and champion.digest != start.digest
    if learn.generates:
        before, after = comparing.Asked(start, training, home), comparing.Asked(version, training, home)
        target, tasks = comparing.everything(before, after, validated, learn, remember)
        said = None
        if champion is not None and asks:
            said = comparing.Asked(champion, training, home).items(validated.datasets["learn.test"], learn)
        return target, tasks, None, said
    old, new = Scorer(start, training, home), Scorer(version, training, home)
    learned = _compare("target", learn.head, "learn.test", old, new, validated)
    kept = [
        _compare(task.name, task.head or learn.head, f"remember.{task.name}.test", old, new, validated, remembered=True)
        for task in remember
    ]
    rival = _champion(champion, learned, new, validated, learn.head) if champion is not None and asks else None
    return learned, kept, _cka(old, new, validated, remember, home), rival


def _compare(
    name: str, head: str, key: str, old: Scorer, new: Scorer, validated: Validated, remembered: bool = False
) -> Comparison:
    """Return the paired outcomes of a task; only the target's head may be new."""
    dataset, labels = validated.datasets[key], new.labels(head)
    items = rows.read(new.home, dataset)
    gold = [str(row["label"]) for row in items]
    after = new.logits(dataset, head)
    same: dict[str, Any] = {
        "name": name,
        "head": head,
        "labels": labels,
        "ids": [str(row["id"]) for row in items],
        "gold": gold,
    }
    scores = Scores.read(after, labels, gold)
    if not old.has(head) and not remembered:
        guess = Scores.of_majority(validated.datasets["learn.train"].labels, labels, gold)
        return Comparison(before=guess, after=scores, baseline="most frequent label", **same)
    before = old.logits(dataset, head)
    aligned = before[:, [old.labels(head).index(label) for label in labels]]
    kl = metrics.forward_kl(aligned, after)
    return Comparison(before=Scores.read(aligned, labels, gold), after=scores, kl=kl, **same)


def _target(task: Outcomes) -> TargetScore:
    positive, negative = task.flips
    return TargetScore(
        metric=task.metric,
        before=float(np.mean(task.right_before)),
        after=float(np.mean(task.right_after)),
        gain=-task.drop + 0.0,
        interval=task.gain_interval(CONFIDENCE),
        lower=task.gain_lower(CONFIDENCE),
        positive_flips=positive,
        negative_flips=negative,
        n=task.n,
    )


def _remembered(task: Outcomes, promise: Remember) -> RememberedScore:
    positive, negative = task.flips
    bound = task.drop_upper(promise.confidence)
    return RememberedScore(
        name=task.name,
        metric=task.metric,
        before=float(np.mean(task.right_before)),
        after=float(np.mean(task.right_after)),
        drop=task.drop,
        bound=bound,
        margin=promise.margin,
        confidence=promise.confidence,
        kept=bound < promise.margin,
        positive_flips=positive,
        negative_flips=negative,
        n=task.n,
    )


def _against(champion: Start | None, target: Outcomes, rival: Scores | Items | None) -> ChampionScore | None:
    """Return the new version against the champion; where that is the start model, its outcomes are used again."""
    if champion is None:
        return None
    match: Any = target if rival is None else dataclasses.replace(target, before=rival)  # type: ignore[arg-type]
    return ChampionScore(
        version=champion.version or champion.model,
        before=float(np.mean(match.right_before)),
        after=float(np.mean(match.right_after)),
        drop=match.drop,
        bound=match.drop_upper(CONFIDENCE),
        confidence=CONFIDENCE,
        n=match.n,
    )


def _champion(champion: Start, target: Comparison, new: Scorer, validated: Validated, head: str) -> Scores:
    scorer = Scorer(champion, new.training, new.home)
    if not scorer.has(head):
        return Scores.of_majority(validated.datasets["learn.train"].labels, target.labels, target.gold)
    logits = scorer.logits(validated.datasets["learn.test"], head)
    return Scores.read(logits, scorer.labels(head), target.gold)


def _cka(old: Scorer, new: Scorer, validated: Validated, remember: Sequence[Remember], home: Home) -> float | None:
    """Return the linear CKA of both encoders on the remembered tests' texts, or the target's where there are none."""
    keys = [f"remember.{task.name}.test" for task in remember] or ["learn.test"]
    texts = [text for key in keys for text in rows.texts(rows.read(home, validated.datasets[key]))]
    chosen = np.unique(np.linspace(0, len(texts) - 1, min(len(texts), _CKA_TEXTS)).astype(int))
    sample = [texts[i] for i in chosen]
    return cka.linear_cka(old.features(sample), new.features(sample))


def _summary(
    target: Outcomes, tasks: Sequence[Outcomes], kl: dict[str, float], alike: float | None, seed: int
) -> dict[str, Any]:
    """Return what `summary.json` holds; the start model is stage 0, the tuned one stage 1, which learns the target."""
    everything = [task.summary(CONFIDENCE, seed) for task in (target, *tasks)]
    scores = np.array([[task["accuracy"][when] for task in everything] for when in ("before", "after")])
    overall: dict[str, Any] = {"average_accuracy": metrics.average_accuracy(scores)}
    if target.baseline == "start":
        chance = np.array([everything[0]["chance"]])
        overall["forward_transfer"] = metrics.forward_transfer(scores[:, :1], np.array([1]), chance)
    if tasks:
        learned: np.ndarray = np.zeros(len(tasks), dtype=int)
        overall["backward_transfer"] = metrics.backward_transfer(scores[:, 1:], learned)
        overall["forgetting"] = metrics.forgetting(scores[:, 1:])
    rounded = {name: round(value, 6) + 0.0 for name, value in overall.items()}
    return {"target": everything[0], "remembered": everything[1:], "overall": rounded, "kl": kl, "cka": alike}


def _put(
    target: Outcomes,
    tasks: Sequence[Outcomes],
    learned: TargetScore,
    kept: tuple[RememberedScore, ...],
    summary: dict[str, Any],
    home: Home,
) -> Artifact:
    with home.store.scratch() as scratch:
        folder = scratch / "evaluation"
        folder.mkdir()
        _write_items(folder / "target.items.jsonl", target)
        for task in tasks:
            _write_items(folder / f"remember.{quote(task.name, safe='')}.items.jsonl", task)
        text = json.dumps(summary, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        (folder / "summary.json").write_text(text + "\n", encoding="utf-8", newline="\n")
        picture.draw(learned, kept, target.baseline, folder / "forgetting.png")
        return home.store.put(folder, "evaluation")


def _write_items(path: Path, task: Outcomes) -> None:
    text = "".join(digests.canonical_json(item) + "\n" for item in task.items())
    path.write_text(text, encoding="utf-8", newline="\n")
