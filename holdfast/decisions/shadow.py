"""The shadow: a challenger and the champion both answer the newest labelled window, and the paired bound compares them.

The window is the newest in the book of which enough labelled rows were learned by neither: one that came while the
challenger was made, or else the rows that `decisions.retrain` held out of the newest window it learned from.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast import adapters
from holdfast import rows as dataset_rows
from holdfast.decisions import book
from holdfast.drift import log, watch
from holdfast.forgetting.evaluate import CONFIDENCE
from holdfast.forgetting.outcomes import Comparison, Scores
from holdfast.forgetting.scorer import Scorer
from holdfast.records import Shadow, Start
from holdfast.registry import aliases, tracking
from holdfast.validation.columns import same

if TYPE_CHECKING:
    from holdfast.decisions.records import Decision
    from holdfast.home import Home
    from holdfast.records import Registered, Tuned, Validated
    from holdfast.spec import Pipeline, Training

_LEARNED = ("train", "valid")


def compare(
    registered: Registered,
    tuned: Tuned,
    validated: Validated,
    start: Start,
    champion: Start | None,
    pipeline: Pipeline,
    home: Home,
) -> Shadow | None:
    """Make a version the challenger of its name and return how it does beside the champion; None without a champion.

    Raises `Fenced` where another run took this one's place.
    """
    if champion is None:
        return None
    home.check_fence()
    aliases.challenge(tracking.client(home), registered.name, registered.version, refused=True)
    heads = adapters.info(home.store.open(tuned.adapter))
    challenger = Start(model=start.model, base=start.base, adapter=tuned.adapter, heads=heads)
    learned = texts(home, (data.digest for key, data in validated.datasets.items() if key.endswith(_LEARNED)))
    window, found = newest(book.at(home).past(registered.name).decisions, learned, registered.name, home)
    margin = pipeline.gate.champion_margin
    told = {"champion": champion.version or champion.model, "window": window, "margin": margin, "n": len(found)}
    if not found:
        nothing = {"before": 0.0, "after": 0.0, "drop": 0.0, "bound": 1.0, "holds": False}
        return Shadow.model_validate({**told, **nothing, "confidence": CONFIDENCE})
    pair = beside(champion, challenger, found, pipeline.learn.head, pipeline.training, home)
    bound = pair.drop_upper(CONFIDENCE)
    scores = {"before": float(np.mean(pair.right_before)), "after": float(np.mean(pair.right_after)), "drop": pair.drop}
    return Shadow.model_validate({**told, **scores, "bound": bound, "confidence": CONFIDENCE, "holds": bound < margin})


def texts(home: Home, digests: Iterable[str]) -> set[str]:
    """Return the texts of datasets, by digest, as equal texts have them in common (case and white space aside)."""
    return {same(row["text"]) for digest in digests for row in dataset_rows.stored(home, digest)}


def newest(
    past: Iterable[Decision], learned: set[str], name: str, home: Home
) -> tuple[str | None, list[dict[str, Any]]]:
    """Return the digest and rows of the newest window of which at least `watch.FEWEST` labelled rows were not learned.

    Where there is none: None, and no rows.
    """
    for decision in reversed([decision for decision in past if decision.window_rows]):
        found = unseen(dataset_rows.stored(home, decision.window_rows or ""), learned, name, home)
        if len(found) >= watch.FEWEST:
            return decision.window, found
    return None, []


def unseen(rows: Iterable[dict[str, Any]], learned: Container[str], name: str, home: Home) -> list[dict[str, Any]]:
    """Return the rows with a label, late ones joined, whose text was not learned; of equal texts the last."""
    known = log.with_labels(rows, log.late_labels(home, name))
    found = {same(row["text"]): row for row in known if row["label"] is not None}
    return [
        {"id": row["id"], "text": row["text"], "label": row["label"]}
        for text, row in found.items()
        if text not in learned
    ]


def beside(
    before: Start, after: Start, found: list[dict[str, Any]], head: str, training: Training, home: Home
) -> Comparison:
    """Return the paired outcomes of two versions on labelled rows; a label that a head lacks is wrong for it."""
    dataset = dataset_rows.version(home, found, ref="shadow")
    gold = [str(row["label"]) for row in found]
    scores = []
    for one in (before, after):
        scorer = Scorer(one, training, home)
        scores.append(Scores.read(scorer.logits(dataset, head), scorer.labels(head), gold))
    ids = [str(row["id"]) for row in found]
    return Comparison("shadow", head, after.heads[head].labels, ids, gold, before=scores[0], after=scores[1])
