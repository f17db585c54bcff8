"""How a decoder does on rows of prompts with known answers: what it says, how good that is, how likely the known one.

Both are computed once for a start model or a version, and kept in the home; a model in training is asked every time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from holdfast import closures, digests
from holdfast.errors import BadInput
from holdfast.forgetting import cached
from holdfast.generation import decoders, encoding, forks, greedy, likelihood, metrics, options, probes

if TYPE_CHECKING:
    from holdfast.generation.encoding import Encoded
    from holdfast.home import Home
    from holdfast.models import Model
    from holdfast.records import Start
    from holdfast.rows import Row
    from holdfast.spec import Metric


MEANS: tuple[Metric, ...] = ("f1", "likelihood")  # an item's score lies anywhere: intervals are a bootstrap's


@dataclass(frozen=True)
class Settings:
    """The metric of a task, the most tokens of an answer, and the precision of forwards."""

    metric: Metric
    max_new_tokens: int = 64
    precision: str = "auto"


@dataclass(frozen=True)
class Items:
    """What a decoder says to n prompts, the score of each answer (0 to 1), and the known answers' likelihoods.

    Of texts (the metric `likelihood`) the score is the log-probability per token, in nats, and nothing is said. Of
    minimal pairs what is said is the likelier text, and the known answer is the good one.

    `log_probability` is the sum over an answer's `tokens`, its end included.
    """

    said: list[str]
    score: np.ndarray
    log_probability: np.ndarray
    tokens: np.ndarray

    @property
    def nll(self) -> float:
        """The known answers' negative log-likelihood per token, in nats."""
        return float(-self.log_probability.sum() / self.tokens.sum())


def of(
    model: Model, rows: Sequence[Row], settings: Settings, start: Start | None = None, home: Home | None = None
) -> Items:
    """Return how `model` does on `rows`; where it is the version `start`, what is kept in `home` is used again.

    Raises `BadInput`, naming the row, for a prompt that does not fit, or an answer that is none of its row's choices.
    """
    if settings.metric == "likelihood":
        texts = _likelihoods(model, rows, settings, start, home)
        return Items([""] * len(rows), texts[:, 0] / texts[:, 1], texts[:, 0], texts[:, 1])
    if settings.metric == "pairs":
        return _of_pairs(model, rows, settings, start, home)
    if settings.metric == "choice":
        said, score = _chosen(model, rows, settings, start, home)
    else:
        said = _said(model, [row["prompt"] for row in rows], settings, start, home)
        score = np.array([grade(settings.metric, answer, row) for answer, row in zip(said, rows, strict=True)])
    scored = _likelihoods(model, rows, settings, start, home)
    return Items(said, score, scored[:, 0], scored[:, 1])


def grade(metric: Metric, answer: str, row: Row) -> float:
    """Return how good an answer is beside the row's own, from 0 to 1 (for `choice`: as `metrics.chosen` reads it)."""
    if metric == "tests":
        return float(metrics.passes(answer, row["tests"]))
    if metric == "f1":
        return metrics.token_f1(answer, row["answer"])
    if metric == "choice":
        return float(metrics.chosen(answer, row["choices"]) == gold_choice(row))
    return float(metrics.numeric(answer, row["answer"]) if metric == "number" else metrics.exact(answer, row["answer"]))


def gold_choice(row: Row, number: int | None = None) -> int:
    """Return which of the row's choices its answer is; raise `BadInput` where it is none of them."""
    if row["answer"] not in row["choices"]:
        expected = f"one of {', '.join(row['choices'])}"
        raise BadInput(
            f"the answer `{row['answer']}` is none of the row's choices", row=number, key="choices", expected=expected
        )
    return int(row["choices"].index(row["answer"]))


def chance(metric: Metric, rows: Sequence[Row], model: Model) -> float:
    """Return the score of knowing nothing: the mean of 1/choices for `choice`, 1/2 for `pairs`, any token for
    `likelihood`, else 0.
    """
    if metric == "likelihood":
        return -math.log(model.network.config.vocab_size)
    if metric == "pairs":
        return 0.5
    return float(np.mean([1 / len(row["choices"]) for row in rows])) if metric == "choice" else 0.0


def _said(model: Model, prompts: list[str], settings: Settings, start: Start | None, home: Home | None) -> list[str]:
    how = greedy.Settings(max_new_tokens=settings.max_new_tokens, precision=settings.precision)
    if start is not None and home is not None:
        return [answer.text for answer in greedy.kept(start, model, prompts, how, home)]
    return [answer.text for answer in greedy.answers(model, prompts, how)]


def _chosen(
    model: Model, rows: Sequence[Row], settings: Settings, start: Start | None, home: Home | None
) -> tuple[list[str], np.ndarray]:
    """Return the most likely of each row's choices, and whether it is the answer."""
    gold = [gold_choice(row, number) for number, row in enumerate(rows, 1)]
    prompts, choices = [row["prompt"] for row in rows], [row["choices"] for row in rows]
    compute = likelihood.Compute(precision=settings.precision)

    def make() -> np.ndarray:
        picked: np.ndarray = np.array(options.choose(model, prompts, choices, compute=compute), np.int32)
        return picked

    if start is not None and home is not None:
        key = {"what": "choices", **decoders.identity(start, model), "asked": digests.of_json([prompts, choices])}
        key |= {"bf16": decoders.computes_bf16(settings.precision), "packages": closures.package_versions()}
        taken = cached.array(key | {"code": closures.digest(["holdfast.generation.options"])}, make, home)
    else:
        taken = make()
    said = [mine[int(i)] for mine, i in zip(choices, taken, strict=True)]
    return said, (taken == np.array(gold)).astype(float)


def _of_pairs(model: Model, rows: Sequence[Row], settings: Settings, start: Start | None, home: Home | None) -> Items:
    """Return which text of each pair is likelier (a tie is wrong), and how likely the good one is."""
    encoded = probes.encoded_pairs(model, [(row["good"], row["bad"]) for row in rows])
    compute = likelihood.Compute(precision=settings.precision)

    def make() -> np.ndarray:
        return forks.log_probabilities(model, encoded, compute)

    if start is not None and home is not None:
        key = {"what": "minimal pairs", **decoders.identity(start, model), "encoded": digests.of_json(encoded)}
        key |= {"bf16": decoders.computes_bf16(settings.precision), "packages": closures.package_versions()}
        totals = cached.array(key | {"code": closures.digest(["holdfast.generation.forks"])}, make, home)
    else:
        totals = make()
    better: np.ndarray = totals[:, 0] > totals[:, 1]
    said = [row["good" if right else "bad"] for row, right in zip(rows, better, strict=True)]
    tokens: np.ndarray = np.array([len(good) - 1 for good, _ in encoded], float)
    return Items(said, better.astype(float), totals[:, 0], tokens)


def encode(model: Model, rows: Sequence[Row], metric: Metric) -> list[Encoded]:
    """Return the rows as the model reads them, known answers scored, or all of a text, of a pair of the good one."""
    encoder = encoding.Encoder(model.tokenizer, decoders.window(model))
    if metric in ("likelihood", "pairs"):
        return [encoder.text(row["answer"]) for row in rows]
    return [encoder.pair(row["prompt"], row["answer"], number) for number, row in enumerate(rows, 1)]


def _likelihoods(
    model: Model, rows: Sequence[Row], settings: Settings, start: Start | None, home: Home | None
) -> np.ndarray:
    encoded = encode(model, rows, settings.metric)
    compute = likelihood.Compute(precision=settings.precision)
    if start is not None and home is not None:
        return likelihood.kept(start, model, encoded, compute, home)
    scores = likelihood.of_tokens(model, encoded, compute)
    found: np.ndarray = np.stack([likelihood.sums(scores), np.array([len(one) for one in scores], float)], 1)
    return found
