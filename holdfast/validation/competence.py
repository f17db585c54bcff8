"""Can forgetting of a task be measured at all: is the start model above chance on it, is its test set large enough?

Only `valid` is looked at; of `test`, only how many rows it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from holdfast import inference, models
from holdfast import rows as datasets_rows
from holdfast.errors import BadInput
from holdfast.forgetting import intervals
from holdfast.generation import items
from holdfast.records import Competence, DatasetVersion, HeadInfo, Start

if TYPE_CHECKING:
    from holdfast.home import Home
    from holdfast.models import Model
    from holdfast.spec import Learn, Metric, Remember

_CONFIDENCE = 0.95


def heads(start: Start, learn: Learn, remember: Sequence[Remember]) -> dict[str, HeadInfo]:
    """Return {remembered task: the start model's head that does it}; raise `BadInput` where there is none."""
    found = {}
    for task in remember:
        name = task.head or learn.head
        if name not in start.heads:
            raise BadInput(
                f"the start model {start.model} has no head named `{name}`, so what it knows of `{task.name}` "
                "cannot be measured, nor what it forgets",
                key=f"remember.{task.name}.head",
                expected=f"one of {', '.join(sorted(start.heads))}" if start.heads else "a start model with heads",
                remedy="Start from a version that has learned this task, or do not list it under `remember`.",
            )
        found[task.name] = start.heads[name]
    return found


def check_margins(datasets: Mapping[str, DatasetVersion], remember: Sequence[Remember]) -> None:
    """Raise `BadInput` for a margin that even an unchanged model could not establish on so few test rows."""
    for task in remember:
        if task.metric == "likelihood":
            continue  # no accuracy: what so many texts can show depends on how much they differ
        n = datasets[f"remember.{task.name}.test"].rows
        if not intervals.establishable(n, task.margin, task.confidence):
            needed = intervals.smallest_n(task.margin, task.confidence)
            raise BadInput(
                f"`{task.name}` has {n} good test rows: too few to show at confidence {task.confidence:g} that "
                f"accuracy drops by less than {task.margin:g}, even if no answer changed",
                file=datasets[f"remember.{task.name}.test"].ref,
                key=f"remember.{task.name}.margin",
                expected=f"at least {needed} test rows for this margin",
                remedy="Give more test rows, a wider margin or a lower confidence.",
            )


def check(
    datasets: Mapping[str, DatasetVersion],
    start: Start,
    learn: Learn,
    remember: Sequence[Remember],
    max_length: int,
    home: Home,
) -> tuple[Competence, ...]:
    """Return how well the start model does each remembered task on `valid`.

    Raises `BadInput` for a task at chance: where the lower bound (one-sided 95% score bound, see `lower_bound`) of the
    accuracy is not above the larger of 1/labels and the share of the most frequent label.
    """
    if not remember:
        return ()
    model = models.load(start, home)
    found = []
    for task in remember:
        version = datasets[f"remember.{task.name}.valid"]
        if task.metric is not None:
            competence = _answers(task, task.metric, version, start, model, home)
        else:
            model.use_head(task.head or learn.head)
            competence = _measure(task.name, version, model, max_length, home)
        if competence.lower <= competence.chance:
            raise _at_chance(competence, version, start)
        found.append(competence)
    return tuple(found)


def lower_bound(correct: int, n: int, confidence: float = _CONFIDENCE) -> float:
    """Return the one-sided lower confidence bound of a proportion: the score bound (Wilson 1927, JASA 22, 209-212).

    (p + z^2/2n - z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), z the normal quantile of `confidence`.
    """
    from scipy.stats import norm

    p, z = correct / n, float(norm.ppf(confidence))
    spread = z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return float(max(0.0, (p + z * z / (2 * n) - spread) / (1 + z * z / n)))


def _measure(name: str, version: DatasetVersion, model: Model, max_length: int, home: Home) -> Competence:
    rows = datasets_rows.read(home, version)
    wanted = datasets_rows.label_ids(rows, model.labels)
    texts = datasets_rows.texts(rows)
    given = inference.logits(model, texts, max_length=max_length, precision="fp32").argmax(1)  # alike on every machine
    correct = sum(int(a) == b for a, b in zip(given, wanted, strict=True))
    majority = max(version.labels.values()) / len(rows)
    return Competence(
        name=name,
        accuracy=correct / len(rows),
        chance=max(1 / len(model.labels), majority),
        lower=lower_bound(correct, len(rows)),
        n=len(rows),
    )


def _answers(
    task: Remember, metric: Metric, version: DatasetVersion, start: Start, model: Model, home: Home
) -> Competence:
    """Return how well a decoder does a task by its metric; of means the lower bound is a bootstrap's."""
    rows = datasets_rows.read(home, version)
    settings = items.Settings(metric, task.max_new_tokens, "fp32")
    score = items.of(model, rows, settings, start, home).score
    if metric in items.MEANS:
        lower = intervals.bootstrap(lambda i: float(score[i].mean()), len(rows), 2 * _CONFIDENCE - 1)[0]
    else:
        lower = lower_bound(int(score.sum()), len(rows))
    chance = items.chance(metric, rows, model)
    return Competence(name=task.name, accuracy=float(score.mean()), chance=chance, lower=lower, n=len(rows))


def _at_chance(found: Competence, version: DatasetVersion, start: Start) -> BadInput:
    measured = "score" if start.task == "generation" else "accuracy"
    return BadInput(
        f"the start model {start.model} cannot do `{found.name}`: on {found.n} valid rows its {measured} is "
        f"{found.accuracy:.3f} (lower bound {found.lower:.3f}), chance is {found.chance:.3f}; what it does not know it "
        "cannot forget",
        file=version.ref,
        key=f"remember.{found.name}",
        expected="a lower bound above chance",
        remedy="Do not list this task under `remember`, start from a version that knows it, or give more valid rows.",
    )
