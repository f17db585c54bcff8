"""Everything one tuning works on, put together before the first step."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast import anatomy, choices, closures, digests, inference, rows, selection
from holdfast.anchors import _origin
from holdfast.anchors._answers import Answers
from holdfast.errors import HoldfastError
from holdfast.importance import probe, read
from holdfast.prefix import cache, plan
from holdfast.prefix.cache import Kept
from holdfast.training import batches, depths, machine, objective, pool, processes, rates, slices
from holdfast.training.adjusting import Adjuster, general_of
from holdfast.training.curve import Curve
from holdfast.training.stopping import Stopping
from holdfast.tuners import injected, kinds

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from holdfast.home import Home
    from holdfast.models import Model
    from holdfast.prefix.cache import Prefix
    from holdfast.records import Assessed, Selected, Start, Validated
    from holdfast.selection import Selection
    from holdfast.spec import Recipe, Remember, Training

Progress = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True)
class Given:
    """What the earlier stages and the pipeline file hand to `tune`; a trial comes before anything is selected."""

    selected: Selected | None
    assessed: Assessed
    validated: Validated
    start: Start
    recipe: Recipe
    remember: Sequence[Remember]
    home: Home
    teacher: Start | None = None

    @property
    def key(self) -> str:
        """Digest of everything that decides the result: data, start, selection, recipe, code and packages."""
        data = {name: version.digest for name, version in self.validated.datasets.items() if not name.endswith(".test")}
        seen = {
            "selected": self.selected.artifact.digest if self.selected else None,
            "assessed": self.assessed.artifact.digest if self.recipe.reads_importance else None,
            "datasets": data,
            "labels": self.validated.labels,
            "start": [self.start.digest, {name: head.labels for name, head in self.start.heads.items()}],
            "recipe": self.recipe.model_dump(mode="json"),
            "named": choices.named_files(self.recipe.examples, self.recipe.metric),
            "teacher": self.teacher.digest if self.teacher else None,
            "remember": [
                (task.name, task.head, task.margin, task.train is not None, task.metric, task.max_new_tokens)
                for task in self.remember
            ],
            "code": closures.digest(["holdfast.training.tune", *self._choices()]),
            "packages": closures.package_versions(),
        }
        return digests.of_json(seen)

    def _choices(self) -> list[str]:
        recipe = self.recipe
        axes: list[tuple[choices.Axis, choices.Choices]] = [
            ("examples", recipe.examples),
            ("objectives", recipe.objective),
            ("anchors", recipe.anchors),
            ("schedules", recipe.schedule),
        ]
        return [choices.module_name(axis, name) for axis, chosen in axes for name in chosen]


@dataclass
class Job:
    """A model with its selection attached, the rows, the method's choices, and what is recorded on the way.

    `moving` are the parameters that may move, the head's included, by full name; `decayed` the names that weight decay
    applies to; `anchors` all that is added to the objective, also by examples without labels; `root` the folder of this
    tuning's checkpoints; `allowed` is asked before anything is put there, and raises where that is another run's now.
    `moving` are the parameters that may move, the head's included, by full name; `slices` what of them the optimiser
    steps: of those that move in part, the entries that do. `decayed` are the names that weight decay applies to,
    `anchors` all that is added to the objective, also by examples without labels, `root` the folder of this tuning's
    checkpoints. `prefix` runs the layers below everything that moves, once; `kept` is what they gave for the pool. Both
    are None where nothing is kept, and `curve.prefix` says why.
    """

    model: Model
    moving: dict[str, nn.Parameter]
    slices: slices.Slices
    decayed: set[str]
    pool: pool.Pool
    batches: batches.EpochBatches
    schedule: rates.Schedule
    objective: objective.Objective
    anchors: dict[str, _origin.Anchor]
    adjuster: Adjuster | None
    training: Training
    valid: list[rows.Row]
    root: Path
    machine: dict[str, Any]
    progress: Progress | None
    curve: Curve
    stopping: Stopping
    allowed: Callable[[], None]
    prefix: Prefix | None = None
    kept: Kept | None = None

    @property
    def anchored_to(self) -> str:
        """SHA-256 of everything that the anchors and the objective hold on to."""
        held = {name: anchor.state for name, anchor in self.anchors.items()} | {"": self.objective.state}
        return _digest({f"{name}/{key}": tensor for name, state in held.items() for key, tensor in state.items()})

    @property
    def running(self) -> dict[str, dict[str, Tensor]]:
        """What changes on the way beside weights and moments, by who keeps it; to be put back into these very dicts."""
        found = {name: anchor.running for name, anchor in self.anchors.items() if hasattr(anchor, "running")}
        return found | ({"": self.adjuster.running} if self.adjuster else {})


def make(given: Given, model: Model, chosen: Selection, root: Path, progress: Progress | None) -> Job:
    """Attach the selection to the model and return the job; raise `BadInput` where the recipe does not fit it."""
    recipe, training = given.recipe, given.recipe.training
    rows_of = pool.build(model, given.validated.datasets, recipe, given.remember, given.home, given.start)
    selection.attach(model, chosen)
    _settle_heads(model)
    moving = {name: p for name, p in model.network.named_parameters() if p.requires_grad}
    origin = _origin_of(given, model, rows_of, chosen)
    schedule = rates.Schedule(recipe.schedule, _depths(model, moving))
    draw = batches.draws(recipe.examples, [example.task for example in rows_of.examples], training.seed)
    here = machine.describe(training.precision)
    if training.frozen_weights == "4bit":
        from holdfast.training import quantized

        here["weights in 4 bits"] = quantized.quantize(model, list(moving.values()), training.precision)
    planned = plan.make(model, moving, rows_of.lengths, training, given.home)
    prefix = cache.Prefix(model, given.start, planned.cut, training, here, given.home) if planned.used else None
    return Job(
        model=model,
        moving=moving,
        slices=_slices(model, chosen, moving),
        decayed={name for name in _decayed(model, moving) if selection.decays(chosen, name)},
        pool=rows_of,
        batches=batches.EpochBatches(draw, rows_of.lengths, training.batch * processes.count(), training.seed),
        schedule=schedule,
        objective=objective.make(recipe.objective, moving, lambda: _teacher(given, origin)),
        anchors={**_anchors(recipe, origin), **_auxiliary(recipe, origin)},
        adjuster=_adjuster(given, schedule, chosen),
        training=training,
        valid=rows.read(given.home, given.validated.datasets["learn.valid"]),
        root=root,
        machine={**here, "frozen layers kept": planned.cut if planned.used else 0},
        progress=progress,
        curve=Curve(targets=rows_of.targets, prefix=planned.document()),
        stopping=Stopping(training.patience),
        allowed=given.home.check_fence,
        prefix=prefix,
        kept=_kept(prefix, rows_of) if prefix else None,
    )


def prefix_of(given: Given, model: Model, known: Sequence[rows.Row], chosen: Selection) -> Prefix | None:
    """Return what runs the frozen layers of a start model for its head's fit, None where the tuning would not read it.

    The fit computes in bf16 where the machine has it, on the processor, and reads a part of many rows.
    """
    import torch

    training, prefix = given.recipe.training, model.encoder_prefix
    alike = plan.computes_bf16(training.precision) == plan.computes_bf16("auto") and not torch.cuda.is_available()
    if not alike or len(known) > probe.MOST_ROWS or training.prefix_cache == "off":
        return None
    added = (f"{prefix}{module}.weight" for module in (chosen.added or {"target_modules": ()})["target_modules"])
    lengths = [len(row["input_ids"]) for row in inference.encode(model, rows.texts(known), training.max_length)]
    planned = plan.make(model, [*chosen.whole, *chosen.partial, *added], lengths, training, given.home)
    here = machine.describe(training.precision)
    return cache.Prefix(model, given.start, planned.cut, training, here, given.home) if planned.used else None


def _slices(model: Model, chosen: Selection, moving: dict[str, nn.Parameter]) -> slices.Slices:
    """Return what the optimiser steps, in charge of the masks from now on."""
    made = slices.Slices(
        moving, {name: chosen.partial[kinds.bare(name)] for name in moving if kinds.bare(name) in chosen.partial}
    )
    selection.hand_over(model, made.hooks)
    return made


def _kept(prefix: Prefix, rows_of: pool.Pool) -> Kept:
    """Return what the frozen layers give for the pool, each task's rows kept by themselves: arms may mix them."""
    tasks = list(dict.fromkeys(example.task for example in rows_of.examples))
    found = []
    for task in tasks:
        tokens = [t for example, t in zip(rows_of.examples, rows_of.tokens, strict=True) if example.task == task]
        found.append(prefix.rows(tokens))
    return Kept(prefix.model, prefix.cut, functools.reduce(operator.add, [one.states for one in found]))


def _settle_heads(model: Model) -> None:
    """Put every head on the network's device; only the one in place may move."""
    for head in model.heads.values():
        for parameter in head.parameters.values():
            parameter.requires_grad_(head is model.heads[model.head])
            parameter.data = parameter.data.to(model.network.device)


def _origin_of(given: Given, model: Model, rows_of: pool.Pool, chosen: Selection) -> _origin.Origin:
    recipe = given.recipe
    return _origin.Origin(
        model=model,
        pool=rows_of,
        remembered_heads=tuple(sorted({task.head or recipe.head for task in given.remember} & set(given.start.heads))),
        seed=recipe.training.seed,
        importance=lambda: read.load(given.home, given.assessed).elementwise("general"),
        logits=lambda head, positions: _logits(model, rows_of, head, positions, recipe.training),
        moving={name: p for name, p in model.network.named_parameters() if p.requires_grad},
        masks=chosen.partial,
        unlabelled=_unlabelled(given),
        max_length=recipe.training.max_length,
        precision=recipe.training.precision,
    )


def _teacher(given: Given, origin: _origin.Origin) -> Answers:
    """Return the logits of the teacher: the one that the file names, else the start model."""
    logits, training = origin.logits, given.recipe.training
    named = [options["teacher"] for options in given.recipe.objective.values() if options.get("teacher")]
    if named and given.teacher is None:
        raise HoldfastError(f"the teacher {named[0]} was not handed over")
    if origin.model.generates:
        if given.teacher is None:
            return origin.answers(())
        return objective.of_another_decoder(given.teacher, given.home, origin.model)
    if given.teacher is not None:
        logits = objective.of_another(given.teacher, given.home, origin.pool, training, origin.model)
    return objective.teach(origin.pool, given.recipe, logits)


def _anchors(recipe: Recipe, origin: _origin.Origin) -> dict[str, _origin.Anchor]:
    return {
        name: choices.load("anchors", name).hold(origin, choices.options("anchors", name, values))
        for name, values in recipe.anchors.items()
    }


def _auxiliary(recipe: Recipe, origin: _origin.Origin) -> dict[str, _origin.Anchor]:
    """Return the losses of examples without labels."""
    modules = {name: choices.load("examples", name) for name in recipe.examples}
    return {
        name: module.auxiliary(origin, choices.options("examples", name, recipe.examples[name]))
        for name, module in modules.items()
        if hasattr(module, "auxiliary")
    }


def _unlabelled(given: Given) -> tuple[str, ...]:
    """Return the texts without labels, where a choice learns from them."""
    uses = (getattr(choices.load("examples", name), "USES_UNLABELLED", False) for name in given.recipe.examples)
    if not any(uses):
        return ()
    return tuple(rows.texts(rows.read(given.home, given.validated.datasets["learn.unlabelled"])))


def _adjuster(given: Given, schedule: rates.Schedule, chosen: Selection) -> Adjuster | None:
    """Return what adjusts the rates on the way, where the schedule has one."""
    if schedule.adjusting is None:
        return None
    return Adjuster(*schedule.adjusting, general_of(read.load(given.home, given.assessed), chosen.partial))


def _depths(model: Model, moving: dict[str, nn.Parameter]) -> dict[str, int]:
    return depths.of_parameters(model, list(moving))


def _decayed(model: Model, moving: dict[str, nn.Parameter]) -> set[str]:
    """Return the moving parameters that weight decay applies to: no bias, and nothing of a norm."""
    norms = {f"{name}." for name, module in model.network.named_modules() if anatomy.is_norm(module)}
    return {name for name in moving if not name.endswith("bias") and f"{name.rpartition('.')[0]}." not in norms}


def _logits(model: Model, rows_of: pool.Pool, head: str, positions: Sequence[int], training: Training) -> Tensor:
    """Return the start model's logits in eval mode on rows of the pool, on the network's device.

    The head stays in place. What was added for the tuning is left out where the start model lacks it.
    """
    import torch

    with model.using(head), injected.absent(model.encoder):
        found = inference.logits(
            model, rows_of.texts(positions), max_length=training.max_length, precision=training.precision
        )
    return torch.from_numpy(found).to(model.network.device)


def _digest(tensors: dict[str, Tensor]) -> str:
    values = {
        name: digests.of_bytes(tensor.detach().cpu().contiguous().numpy().tobytes()) for name, tensor in tensors.items()
    }
    return digests.of_json(values)
