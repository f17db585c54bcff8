"""Stage 5, tune: train what the selection lets move, keep the contract (`holdfast.control`), write it as an adapter.

Interrupted anywhere, it continues from its last checkpoint to the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast import adapters, faults, inference, memory, models, parts, rows, selection
from holdfast.control import attempts, search, trajectory
from holdfast.control.watcher import Watcher, needed
from holdfast.errors import Diverged, OutOfMemory
from holdfast.importance import probe
from holdfast.records import Tuned
from holdfast.training import checkpoints, curve, drawn_back, job, launch, processes, randomness, restoring, sliced

if TYPE_CHECKING:
    from holdfast.home import Home
    from holdfast.models import Model
    from holdfast.records import Artifact, Assessed, Selected, Start, Validated
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

    Where a remembered task makes a contract, what is returned is the controller's choice, with its trajectory.

    The same inputs give the same bytes on the same machine. Checkpoints lie in `home.checkpoints/<digest of the
    inputs>` and are removed at the end. Raises `Diverged` where the loss is no number any more (the last good
    checkpoint stays), `OutOfMemory`, `DiskFull`, `HoldfastError` when the checkpoint found was made with other settings
    of the machine, `BadInput` when the recipe does not fit the start model.
    """
    if launch.asked(recipe):
        return launch.tune(selected, assessed, validated, start, recipe, remember, home, teacher)
    given = job.Given(selected, assessed, validated, start, recipe, remember, home, teacher)
    root = home.checkpoints / given.key
    chosen = selection.load(home.store.open(selected.artifact))
    with _memory(recipe):
        tunings = _attempts(given, chosen, root, progress)
        with processes.in_turn():
            used, found = _settle(tunings, home)
            tuned = _finish(used, chosen, given, found)
    home.check_fence()
    for tuning in tunings if processes.number() == 0 else ():
        checkpoints.discard(tuning.work.root)
    return tuned


@dataclass(frozen=True)
class _Tuning:
    """A job that was tuned with so many updates, and its controller, if there is a contract."""

    work: job.Job
    steps: int
    watcher: Watcher | None


def _attempts(given: job.Given, chosen: selection.Selection, root: Path, progress: Progress | None) -> list[_Tuning]:
    """Tune; where contracts broke and the controller found nothing that keeps them with a gain, tune again, anchored.

    An attempt after the first that diverges is the last, and is left out.
    """
    made: list[_Tuning] = []
    for attempt in range(1, (given.recipe.control.attempts if needed(given) else 1) + 1):
        place = root if attempt == 1 else root.with_name(f"{root.name}-{attempt}")
        try:
            made.append(_once(attempts.anchored(given, attempt), attempt, chosen, place, progress))
        except Diverged:
            if attempt == 1:
                raise
            checkpoints.discard(place)
            break
        watcher = made[-1].watcher
        if watcher is None or not watcher.in_vain:
            break
    return made


def _once(
    given: job.Given, attempt: int, chosen: selection.Selection, root: Path, progress: Progress | None
) -> _Tuning:
    with randomness.reproducible(given.recipe.training.seed):
        with processes.in_turn():
            work = job.make(given, start_model(given, chosen), chosen, root, progress)
        watcher = Watcher(given, work, attempt) if needed(given) else None
        back = drawn_back.DrawnBack(given, work) if work.schedule.draws_back else None
        selection.begin(work.model, chosen)
        steps = _train(work, watcher)
        work.stopping.put_back(work.moving)
        work.curve.best_step = work.stopping.best_step
        if back is not None:
            back.end()
        if watcher is not None:
            watcher.end(steps, work.stopping.best_step or steps)
        return _Tuning(work, steps, watcher)


def _settle(tunings: list[_Tuning], home: Home) -> tuple[_Tuning, Artifact | None]:
    """Give a model the weights of the best candidate of all; return its tuning and the trajectory."""
    watchers = [tuning.watcher for tuning in tunings if tuning.watcher is not None]
    seen = [one for watcher in watchers for one in watcher.seen]
    if not seen:
        return tunings[0], trajectory.put(watchers, None, home) if watchers else None
    best = search.best(seen)
    used = tunings[best.candidate.attempt - 1]
    watchers[best.candidate.attempt - 1].apply(best.candidate)
    used.work.curve.best_step = best.candidate.step
    return used, trajectory.put(watchers, best, home)


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


def start_model(given: job.Given, chosen: selection.Selection | None = None) -> Model:
    """Return the start model with the head in place on the machine's device; a new head is first fitted, where asked.

    Where it is known what will move, the fit leaves behind what the layers below give.
    """
    import torch

    head, seed, length = given.recipe.head, given.recipe.training.seed, given.recipe.training.max_length
    model = models.load_with_head(given.start, given.home, head, given.validated.labels, seed)
    fitted = given.recipe.training.new_head == "fitted" and not model.generates
    if head not in given.start.heads and fitted:
        known = rows.read(given.home, given.validated.datasets["learn.train"])
        prefix = job.prefix_of(given, model, known, chosen) if chosen is not None else None
        probe.fit(model, known, model.labels, length, seed, prefix)
    model.network.to("cuda" if torch.cuda.is_available() else "cpu")
    return model


def _train(work: job.Job, watcher: Watcher | None) -> int:
    """Run the trainer from the newest checkpoint, or from the start; return how many updates were made."""
    work.root.mkdir(parents=True, exist_ok=True)
    with parts.in_use(work.root):
        return _continued(work, watcher)


def _continued(work: job.Job, watcher: Watcher | None) -> int:
    from holdfast.training import trainer

    found = checkpoints.newest(work.root)
    processes.wait()
    running = trainer.TuningTrainer(work)
    if watcher is not None:
        running.add_callback(watcher.callback())
    if found is None:
        with _ready(work):
            running.train()
        return int(running.state.global_step)
    restoring.check(work, found)
    if restoring.is_last(work, found):
        restoring.weights(work, found)
        return found.step
    with _ready(work):
        running.train(resume_from_checkpoint=str(found.folder))
    return int(running.state.global_step)


@contextmanager
def _ready(work: job.Job) -> Iterator[None]:
    """Cast frozen weights for bf16 once, not at every step, and look for garbage only in what is made from now on."""
    network = work.model.network
    sparing = nullcontext() if work.training.compile else sliced.only_moving(network, work.slices)
    with memory.settled(), inference.cast_once(network, work.training.precision, work.moving.values()), sparing:
        yield


def _finish(used: _Tuning, chosen: selection.Selection, given: job.Given, found: Artifact | None) -> Tuned:
    """Write the adapter and the curve."""
    model, work = used.work.model, used.work
    if work.training.frozen_weights == "4bit":
        from holdfast.training import quantized

        quantized.make_whole(model, models.load(given.start, given.home))
    model.network.to("cpu").eval()
    for head in model.heads.values():
        for parameter in head.parameters.values():
            parameter.data = parameter.data.cpu()
    with given.home.store.scratch() as scratch:
        folder = scratch / "adapter"
        adapters.write(model, chosen, given.start, given.home, folder)
        adapter = given.home.store.put(folder, "adapter")
    return Tuned(
        adapter=adapter,
        curve=curve.put(work.curve, given.home),
        trajectory=found,
        steps=used.steps,
        final_loss=work.curve.final_loss(len(work.batches)),
    )
