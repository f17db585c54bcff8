"""Equal updates: so many epochs that an arm makes as many updates as plain fine-tuning on the file's data."""

from __future__ import annotations

import math
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
