"""The units of work of a comparison, what each gives, and how that is kept: whole as JSON, or not at all.

A unit is one tuning: of an arm at one rate, looked at on `valid` (`rate`), or of an arm at the rate that was chosen and
at one seed, judged on `test` (`final`). What is kept is named by the digest of all that decides it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import TypeAdapter

from holdfast import choices, closures, digests, parts, spec
from holdfast.comparison import kept
from holdfast.forgetting import watch
from holdfast.generation import comparing
from holdfast.records import Record, Tuned
from holdfast.training import machine

if TYPE_CHECKING:
    from holdfast.home import Home
    from holdfast.records import Prepared
    from holdfast.spec import Pipeline

Kind = Literal["rate", "final"]
_STAGES = (
    "holdfast.validation.validate",
    "holdfast.importance.assess",
    "holdfast.selection",
    "holdfast.auto.choose",
    "holdfast.training.tune",
    "holdfast.forgetting.evaluate",
)
_DIVERGED = (-float("inf"), 0.0, 0.0)
NATS = comparing.WORDS["likelihood"]  # the one metric whose values have no bounds


@dataclass(frozen=True)
class Unit:
    """What to do: tune `pipeline` (rate and seed are in its training), an arm's at `factor` times the file's rate."""

    kind: Kind
    arm: str
    factor: float
    pipeline: Pipeline

    @property
    def seed(self) -> int:
        """The seed of the tuning."""
        return self.pipeline.training.seed

    def named(self, result: Result) -> Result:
        """Return a result as this unit's own: it may be of another arm, or grid, that came to the same tuning."""
        return result.model_copy(update={"arm": self.arm, "factor": self.factor})


class Looked(Record):
    """What a `rate` unit gave: the look at `valid`, and what was tuned; both None where it `failed`, and why."""

    kind: Literal["rate"] = "rate"
    arm: str
    factor: float
    rate: float
    seed: int
    seconds: float
    look: dict[str, Any] | None
    tuned: Tuned | None
    failed: str | None = None

    @property
    def rank(self) -> tuple[float, float, float]:
        """What the rates of an arm are ordered by, larger is better: see `holdfast.forgetting.watch.Look.rank`."""
        return watch.from_document(self.look).rank if self.look else _DIVERGED


class Outcome(Record):
    """One task's test items, in order: what the start model and the tuned one score.

    A score is 0 or 1, for F1 between, and without bounds for the metric `NATS`.
    """

    name: str
    metric: str
    before: tuple[float, ...]
    after: tuple[float, ...]
    margin: float | None = None
    kept: bool | None = None


class Judged(Record):
    """What a `final` unit gave: item by item the target and every remembered task (None where it `failed`, and why).

    `seconds` are the processor's for tuning (beside a GPU the wall's), `prepared` the wall's for assessing and
    selecting, which arms may share. `evaluation` is the digest of the evaluation's artifact.
    """

    kind: Literal["final"] = "final"
    arm: str
    factor: float
    rate: float
    seed: int
    steps: int
    seconds: float
    prepared: float
    moved: int
    total: int
    share: float
    kl: dict[str, float]
    target: Outcome | None
    remembered: tuple[Outcome, ...] = ()
    adapter: str | None = None
    evaluation: str | None = None
    failed: str | None = None


Result = Looked | Judged
_READ: TypeAdapter[Result] = TypeAdapter(Result)


def best(looked: Sequence[Looked]) -> Looked:
    """Return the result of the rate to go on with, by what was seen on `valid`.

    That is the rate with the largest gain of the target among those that keep every contract by the gentle rule of
    `holdfast.forgetting.watch`; where none does, the one that is least beyond what is allowed. Equal ones go by
    log-loss, then to the smaller rate. What diverged comes last.
    """
    return max(sorted(looked, key=lambda one: one.factor), key=lambda one: one.rank)


def key(unit: Unit, prepared: Prepared) -> str:
    """Return the digest of everything that decides a unit's result.

    That are data, start, teacher, file, code, packages and the kind of processor; names, where datasets lie, and how
    many threads compute, do not.
    """
    described = unit.pipeline.resolved()
    for section in (described["learn"], *described["remember"]):
        for role in ("train", "valid", "test"):
            section[role] = section[role] is not None
    for name in ("name", "start", "register", "gate", "watch", "run"):
        described.pop(name, None)
    seen = {
        "kind": unit.kind,
        "pipeline": described,
        "data": {name: version.digest for name, version in prepared.datasets.items()},
        "start": [prepared.start.digest, {name: head.labels for name, head in prepared.start.heads.items()}],
        "teacher": prepared.teacher.digest if prepared.teacher else None,
        "named": choices.named_files(unit.pipeline.examples, unit.pipeline.learn.metric),
        "machine": _computing(unit.pipeline.training.precision),
        "code": closures.digest([*_STAGES, *_modules(unit.pipeline)]),
        "packages": closures.package_versions(),
    }
    return digests.of_json(seen)


def _computing(precision: str) -> dict[str, Any]:
    described = machine.describe(precision)
    return {name: described[name] for name in ("instructions", "bf16", "device")}


def _modules(pipeline: Pipeline) -> Iterable[str]:
    return (choices.module_name(axis, name) for axis, name in pipeline.chosen())


def at(pipeline: Pipeline, factor: float, seed: int) -> Pipeline:
    """Return an arm's pipeline at `factor` times its learning rate and at a seed."""
    rate = pipeline.training.learning_rate * factor
    changed = pipeline.training.model_copy(update={"learning_rate": float(f"{rate:.6g}"), "seed": seed})
    return pipeline.model_copy(update={"training": spec.Training(**changed.model_dump())})


def found(key: str, home: Home) -> Result | None:
    """Return the result kept under a key, or None."""
    place = kept.units(home) / f"{key}.json"
    try:
        result = _READ.validate_json(place.read_text(encoding="utf-8"))
        place.touch()
    except (OSError, ValueError):
        return None
    return result


def keep(key: str, result: Result, home: Home) -> None:
    """Keep a result, whole or not at all."""
    whole(kept.units(home) / f"{key}.json", result.model_dump_json(indent=1))


def whole(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with parts.making(path.parent) as part:
        scratch = part / path.name
        with scratch.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(path)
