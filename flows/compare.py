"""The flow `compare`: every arm tuned at every rate of a grid, then at every seed at the best of these.

The units go through the tasks that `adapt` runs, prepare -> validate -> assess -> select -> tune -> evaluate, without
Prefect's server and without the registry: no adapter of a comparison is a candidate for promotion. What arms share is
computed once. Killed anywhere, the same command goes on from the last finished unit.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows import pools
from flows import units as doing
from flows.units import Work
from holdfast import leftovers, progress, spec, written
from holdfast.comparison import arms, picture, summary, table, units, updates
from holdfast.comparison.units import Judged, Looked, Result, Unit
from holdfast.errors import BadInput
from holdfast.home import Home
from holdfast.records import Prepared
from holdfast.registry import ledger
from holdfast.registry import start as starts

Announce = Callable[[str], None]
GRID = (0.3, 1.0, 3.0)


@dataclass(frozen=True)
class Settings:
    """What a comparison is to do: which arms (as they are named), how many seeds, which rates, how many at a time."""

    methods: str
    seeds: int = 5
    grid: tuple[float, ...] = GRID
    baselines: bool = True
    overrides: tuple[str, ...] = ()
    jobs: int = 1


def compare(file: Path, settings: Settings, home: Home, out: Path, announce: Announce) -> dict[str, Any]:
    """Run what is missing of a comparison, write `comparison.json`, `comparison.md` and `frontier.png` into `out`.

    Returns the document that `holdfast.comparison.summary` describes. Raises `BadInput` for arms that do not fit.
    """
    pipelines, notes = _pipelines(file, settings)
    for note in notes:
        announce(note)
    first = next(iter(pipelines.values()))
    prepared = _prepared(first, home)
    teachers = {name: starts.teacher(pipeline, home) for name, pipeline in pipelines.items()}
    given = {name: prepared.model_copy(update={"teacher": teacher}) for name, teacher in teachers.items()}

    def work(kind: units.Kind, name: str, factor: float, seed: int) -> Work:
        return Work(Unit(kind, name, factor, units.at(pipelines[name], factor, seed)), given[name], home)

    seed, total = first.training.seed, len(pipelines) * (len(settings.grid) + settings.seeds)
    with _runner(settings.jobs, total, announce) as run:
        rates = [work("rate", arm, factor, seed) for arm in pipelines for factor in settings.grid]
        looked = _by_arm(run(rates), Looked)
        best = {name: units.best(found) for name, found in looked.items()}
        notes += _left_out(best)
        _discard([one for name, found in looked.items() for one in found if one != best[name]], home)
        seeds = range(seed, seed + settings.seeds)
        able = [arm for arm in pipelines if best[arm].look is not None]
        finals = [work("final", arm, best[arm].factor, one) for arm in able for one in seeds]
        judged = _by_arm(run(finals), Judged)
        _discard(best.values(), home)
    _count(judged, prepared, first.name, home)
    leftovers.remove_old(home)
    found = [
        summary.Found(arm, tuple(looked[arm]), tuple(judged.get(arm, ())), _said(pipeline))
        for arm, pipeline in pipelines.items()
    ]
    return _write(summary.document(first.name, found, settings.grid, notes), out)


def _pipelines(file: Path, settings: Settings) -> tuple[dict[str, spec.Pipeline], list[str]]:
    """Return the pipeline of every arm, the baselines first, and what is to be said of those left out."""
    grid = settings.grid
    if settings.seeds < 1 or not grid or min(grid) <= 0:
        raise BadInput("a comparison needs at least one seed and one positive rate", key="--seeds, --rates")
    if not all(map(math.isfinite, grid)) or len(set(grid)) < len(grid):
        raise BadInput("the rates are not different numbers", key="--rates", expected="such as 0.3,1,3")
    chosen, raw = arms.parse(settings.methods), written.changed(written.read(file), settings.overrides)
    added, notes = arms.baselines(chosen, raw, file) if settings.baselines else ([], [])
    found = {arm.name: arms.pipeline(arm, raw, file) for arm in [*added, *chosen]}
    arms.check_alike(found, spec.parse(raw, file))
    return found, notes + updates.beside(found)


def _prepared(pipeline: spec.Pipeline, home: Home) -> Prepared:
    """Return datasets and start model; every seed works on the same rows, split by the file's seed."""
    from tasks.prepare import prepare

    return Prepared(**prepare.fn(pipeline=pipeline, home=home))


def _said(pipeline: spec.Pipeline) -> dict[str, Any]:
    described = pipeline.resolved()
    return {key: described[key] for key in ("examples", "parameters", "objective", "anchors", "schedule", "control")}


Run = Callable[[Sequence[Work]], list[Result]]


@contextmanager
def _runner(jobs: int, total: int, announce: Announce) -> Iterator[Run]:
    """Give the function that runs units, `jobs` at a time, and tells what came out of each."""
    done = 0

    def told(results: Iterable[tuple[Result, bool]]) -> list[Result]:
        nonlocal done
        found = []
        for result, again in results:
            done += 1
            progress.report("compare", done, total)
            announce(f"{done}/{total} {_brief(result)}{'' if again else ' (kept)'}")
            found.append(result)
        return found

    if jobs == 1:
        yield lambda works: told(doing.perform(work) for work in works)
        return
    with pools.of(jobs, _alone) as pool:

        def spread(works: Sequence[Work]) -> list[Result]:
            same: dict[str, list[Work]] = {}  # what arms share is tuned once: two at a time would share a checkpoint
            for work in works:
                same.setdefault(work.key, []).append(work)
            under_way = {pool.submit(doing.perform, first): (first, *others) for first, *others in same.values()}
            return told(
                each for future in as_completed(under_way) for each in _each(under_way[future], *future.result())
            )

        yield spread


def _each(works: Sequence[Work], result: Result, now: bool) -> Iterator[tuple[Result, bool]]:
    """Give the result of units that are one tuning, as each one's own; it was done now for the first alone."""
    for number, work in enumerate(works):
        yield work.unit.named(result), now and number == 0


def _alone() -> None:
    """Have a worker process use one thread and say nothing."""
    import torch

    from flows.cli import common

    common.quiet()
    torch.set_num_threads(1)


def _left_out(best: dict[str, Looked]) -> list[str]:
    """Return what is to be said of arms that failed at every rate; raise `BadInput` where all did."""
    failed = {name: one.failed for name, one in best.items() if one.look is None}
    if len(failed) == len(best):
        raise BadInput(f"every arm failed, `{next(iter(failed))}` because: {next(iter(failed.values()))}")
    return [f"the arm `{name}` failed at every rate: {reason}" for name, reason in failed.items()]


def _by_arm(results: Iterable[Result], kind: type) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for result in results:
        assert isinstance(result, kind)
        found.setdefault(result.arm, []).append(result)
    return found


def _discard(looked: Iterable[Looked], home: Home) -> None:
    """Remove adapters that nothing is asked of any more; a registered version's is fetched again where it is needed."""
    for one in looked:
        if one.tuned is not None:
            home.store.discard(one.tuned.adapter)


def _count(judged: dict[str, list[Judged]], prepared: Prepared, name: str, home: Home) -> None:
    """Count every scoring of a test set in the ledger, once."""
    book = ledger.at(home)
    for one in (each for found in judged.values() for each in found):
        if one.adapter is None or one.evaluation is None:
            continue
        for task in ("learn", *(f"remember.{outcome.name}" for outcome in one.remembered)):
            digest = prepared.datasets[f"{task}.test"].digest
            book.record_scoring(digest, f"compare:{name}", task, one.adapter, one.evaluation)


def _brief(result: Result) -> str:
    head = f"{result.arm} {result.factor:g}x seed {result.seed}"
    if isinstance(result, Looked):
        seen = result.look
        gain = f"gain {100 * seen['target']['gain']:+.1f}" if seen else f"failed, {result.failed}"
        return f"{head} on valid: {gain}"
    if result.target is None:
        return f"{head} on test: failed, {result.failed}"
    tasks = [result.target, *result.remembered]
    changes = [100 * (sum(task.after) - sum(task.before)) / len(task.after) for task in tasks]
    said = ", ".join(f"{task.name} {change:+.1f}" for task, change in zip(tasks, changes, strict=True))
    return f"{head} on test: {said} ({result.seconds:.0f} s)"


def _write(document: dict[str, Any], out: Path) -> dict[str, Any]:
    """Write the three files and return the document."""
    out.mkdir(parents=True, exist_ok=True)
    units.whole(out / "comparison.json", json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    units.whole(out / "comparison.md", table.markdown(document))
    picture.draw(document, out / "frontier.png")
    return document
