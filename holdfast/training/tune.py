"""Stage 5, tune: train what the selection lets move, and write it as an adapter.

Interrupted anywhere, it continues from its last checkpoint to the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from holdfast import adapters, faults, models, parts, rows, selection
from holdfast.errors import OutOfMemory
from holdfast.importance import probe
from holdfast.records import Tuned
from holdfast.training import checkpoints, curve, job, randomness, restoring

if TYPE_CHECKING:
    from holdfast.home import Home
    from holdfast.models import Model
    from holdfast.records import Assessed, Selected, Start, Validated
    from holdfast.spec import Recipe, Remember

Progress = Callable[[int, int, dict[str, float]], None]


def tune(
    selected: Selected,
    assessed: Assessed,
    validated: Validated,
    start: Start,
    recipe: Recipe,
    remember: Sequence[Remember],
    home: Home,
    progress: Progress | None = None,
    teacher: Start | None = None,
) -> Tuned:
    """Tune and return the adapter with its loss curve; `progress(step, of, {"loss": ...})` is called at every update.

    The same inputs give the same bytes on the same machine. Checkpoints lie in `home.checkpoints/<digest of the
    inputs>` and are removed at the end. Raises `Diverged` where the loss is no number any more (the last good
    checkpoint stays), `OutOfMemory`, `DiskFull`, `HoldfastError` when the checkpoint found was made with other settings
    of the machine, `BadInput` when the recipe does not fit the start model.
    """
    given = job.Given(selected, assessed, validated, start, recipe, remember, home, teacher)
    root = home.checkpoints / given.key
    chosen = selection.load(home.store.open(selected.artifact))
    with randomness.reproducible(recipe.training.seed), _memory(recipe):
        work = job.make(given, start_model(given), chosen, root, progress)
        steps = _train(work)
        return _finish(work, steps, chosen, given)


@contextmanager
def _memory(recipe: Recipe) -> Iterator[None]:
    """Turn every way of running out of memory into one error that says what to do."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not faults.out_of_memory(error):
            raise
        training = recipe.training
        raise OutOfMemory(
            f"tuning ran out of memory with training.batch {training.batch} and training.max_length "
            f"{training.max_length}: lower one of them, or choose fewer parameters"
        ) from error


def start_model(given: job.Given) -> Model:
    """Return the start model with the head in place on the machine's device; a new head is first fitted by itself."""
    import torch

    head, seed, length = given.recipe.head, given.recipe.training.seed, given.recipe.training.max_length
    model = models.load_with_head(given.start, given.home, head, given.validated.labels, seed)
    if head not in given.start.heads:
        known = rows.read(given.home, given.validated.datasets["learn.train"])
        probe.fit(model, known, model.labels, length, seed)
    model.network.to("cuda" if torch.cuda.is_available() else "cpu")
    return model


def _train(work: job.Job) -> int:
    """Run the trainer from the newest checkpoint, or from the start; return how many updates were made."""
    work.root.mkdir(parents=True, exist_ok=True)
    with parts.in_use(work.root):
        return _continued(work)


def _continued(work: job.Job) -> int:
    from holdfast.training import trainer

    found = checkpoints.newest(work.root)
    running = trainer.TuningTrainer(work)
    if found is None:
        running.train()
        return int(running.state.global_step)
    restoring.check(work, found)
    if restoring.is_last(work, found):
        restoring.weights(work, found)
        return found.step
    running.train(resume_from_checkpoint=str(found.folder))
    return int(running.state.global_step)


def _finish(work: job.Job, steps: int, chosen: selection.Selection, given: job.Given) -> Tuned:
    """Write the adapter and the curve; only then remove the checkpoints."""
    work.stopping.put_back(work.moving)
    work.curve.best_step = work.stopping.best_step
    model = work.model
    model.network.to("cpu").eval()
    for head in model.heads.values():
        for parameter in head.parameters.values():
            parameter.data = parameter.data.cpu()
    with given.home.store.scratch() as scratch:
        folder = scratch / "adapter"
        adapters.write(model, chosen, given.start, given.home, folder)
        adapter = given.home.store.put(folder, "adapter")
    tuned = Tuned(
        adapter=adapter,
        curve=curve.put(work.curve, given.home),
        steps=steps,
        final_loss=work.curve.final_loss(len(work.batches)),
    )
    checkpoints.discard(work.root)
    return tuned
