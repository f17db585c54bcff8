"""Equal updates: so many epochs that an arm makes as many updates as plain fine-tuning on the file's data.

What an arm tunes beside them is not taken off, since trials leave nothing behind and a gated tuning may be as long as
all of them: `beside` says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from holdfast.training import batches

if TYPE_CHECKING:
    from holdfast.home import Home
    from holdfast.records import Assessed, Start, Validated
    from holdfast.spec import Pipeline


def wanted(pipeline: Pipeline, rows: int) -> int:
    """Return the updates that every arm makes: those of `rows` training rows, each once per epoch."""
    training = pipeline.training
    return math.ceil(training.epochs * -(-rows // training.batch))


def equal(pipeline: Pipeline, validated: Validated, assessed: Assessed, start: Start, home: Home) -> Pipeline:
    """Return the pipeline with its epochs changed so that it makes `wanted` updates, however many rows it draws."""
    training = pipeline.training
    drawn = -(-_rows(pipeline, validated, assessed, start, home) // training.batch)
    plain = validated.datasets["learn.train"].rows
    if drawn == -(-plain // training.batch):
        return pipeline
    epochs = (wanted(pipeline, plain) - 0.5) / drawn  # the trainer rounds up to whole updates
    return pipeline.model_copy(update={"training": training.model_copy(update={"epochs": epochs})})


def beside(pipelines: Mapping[str, Pipeline]) -> list[str]:
    """Return what is to be said of arms that tune beside the updates that all arms make."""
    return [f"the arm `{name}` {said}" for name, pipeline in pipelines.items() for said in _beside(pipeline)]


def _beside(pipeline: Pipeline) -> Iterator[str]:
    parameters, control = pipeline.parameters, pipeline.control
    if "diff-pruning" in parameters:
        epochs = parameters["diff-pruning"]["epochs"]
        yield f"goes on from a gated tuning (epochs: {epochs:g}), which is not counted among its updates"
    if "auto" in parameters:
        yield "is chosen by short trials, which are not counted among its updates"
    if control.enabled and control.attempts > 1 and pipeline.remember:
        yield f"may be tuned {control.attempts} times, of which the updates of one are counted"


def _rows(pipeline: Pipeline, validated: Validated, assessed: Assessed, start: Start, home: Home) -> int:
    """Return how many rows an epoch of the pipeline draws; the answers of `self` decide how many rows there are."""
    recipe = pipeline.recipe
    if "self" in pipeline.examples:
        tasks = _of_own_words(pipeline, validated, assessed, start, home)
    else:
        tasks = [""] * validated.datasets["learn.train"].rows
        for task in pipeline.remember:
            if task.train is not None:
                tasks += [task.name] * validated.datasets[f"remember.{task.name}.train"].rows
    return len(batches.draws(recipe.examples, tasks, recipe.training.seed)(0))


def _of_own_words(pipeline: Pipeline, validated: Validated, assessed: Assessed, start: Start, home: Home) -> list[str]:
    from holdfast.training import job, pool, tune

    given = job.Given(None, assessed, validated, start, pipeline.recipe, pipeline.remember, home)
    model = tune.start_model(given)
    made = pool.build(model, validated.datasets, pipeline.recipe, pipeline.remember, home, start)
    return [example.task for example in made.examples]
