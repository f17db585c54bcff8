"""What is tried with one method, and what must be true after each kill; a cell says `same bytes` or what was wrong."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.kill import points, rows, spine, world
from holdfast import digests, parts
from holdfast.home import Home
from holdfast.records import Artifact, ChampionScore, Evaluated, Registered, Tuned

ROOT = Path(__file__).resolve().parents[2]
SAME, ABSENT, MISSED = "same bytes", "same bytes, absent until then", "never came to this point"
_FILES = ("adapter_model.safetensors", "adapter_config.json")


def method(folder: Path, name: str, home: Home, validated: spine.Records) -> dict[str, str]:
    """Return {point: what became of it} for the tuning and the registration of one method; the data are validated."""
    file = world.pipeline(folder, name)
    try:
        _, known = spine.child(spine.run, file, [], home, validated, "evaluate")
        return _tuning(file, home, known, name) | _registering(file, home, known, name)
    except RuntimeError as error:
        return {points.ALL[0].name: f"failed: {error}"}


def _tuning(file: Path, home: Home, known: spine.Records, row: str) -> dict[str, str]:
    tuned: Tuned = known["tune"]
    adapter = tuned.adapter
    wanted = contents(home.store.path(adapter))
    home.store.discard(adapter)
    before = {stage: record for stage, record in known.items() if stage not in ("tune", "evaluate")}
    passed = [point for point in points.TUNE if point.name not in rows.WITHOUT.get(row, ())]
    if rows.in_own_words(row):
        shutil.rmtree(home.cache / "scores")  # what the model said, which would be found again
        passed = [*points.OWN_WORDS, *passed]
    said = {point.name: _tuned(point, file, home, before, adapter) for point in passed}
    _, again = spine.child(spine.run, file, [], home, before, "tune")
    tuned_again: Tuned = again["tune"]
    same = contents(home.store.path(tuned_again.adapter)) == wanted
    return _all(said, next(leftovers(home), "") if same else "OTHER BYTES")


def _tuned(point: points.Point, file: Path, home: Home, before: spine.Records, adapter: Artifact) -> str:
    """Go on with a tuning, kill it at `point`, and say whether its adapter is in the store then."""
    code, _ = spine.child(spine.run, file, [], home, before, "tune", point=point)
    if code != -signal.SIGKILL:
        return MISSED
    if not home.store.path(adapter).exists():
        return ABSENT
    return SAME if home.store.holds(adapter) else "half an adapter in the store"


def _all(said: dict[str, str], wrong: str) -> dict[str, str]:
    """Return what was said of each point; what is wrong at the end is wrong for every one of them."""
    return {name: wrong or word for name, word in said.items()}


def _registering(file: Path, home: Home, known: spine.Records, row: str) -> dict[str, str]:
    """Register under a name that all methods share, so that there is a champion to lose; kill it at point after point.

    The comparison with that champion is set, not measured: what is tried is the registry.
    """
    name = "shared-words" if rows.generates(row) else "shared"
    tuned: Tuned = known["tune"]
    sets, wanted = [f"name={name}"], contents(home.store.path(tuned.adapter))
    _, champion = spine.child(_champion, home, name)
    if champion is not None:
        rival = ChampionScore(version=champion.version, before=1, after=1, drop=0, bound=0, confidence=0.95, n=48)
        evaluated: Evaluated = known["evaluate"]
        known = known | {"evaluate": evaluated.model_copy(update={"champion": rival})}
    said = {}
    for point in points.REGISTER:
        code, _ = spine.child(spine.run, file, sets, home, known, point=point)
        _, word = spine.child(_visible, home, name, champion, tuned.adapter)
        said[point.name] = word if code == -signal.SIGKILL else MISSED
    _, done = spine.child(spine.run, file, sets, home, known)
    _, wrong = spine.child(_complete, home, name, done, champion, wanted)
    return _all(said, wrong)


def _champion(home: Home, name: str) -> Any:
    from holdfast.registry import ledger

    return ledger.at(home).champion(name)


def _visible(home: Home, name: str, before: Any, adapter: Artifact) -> str:
    """Say what can be seen right after a kill: no version of the adapter, or a whole one; or what is wrong."""
    from holdfast.registry import catalogue, ledger, tracking

    client, now = tracking.client(home), ledger.at(home).champion(name)
    seen = catalogue.ready(client, name)
    for version in seen:
        with catalogue.adapter(client, version, home):  # raises where it is not whole
            pass
    if now != before and (now is None or now.digest != adapter.digest):
        return "the champion was lost"
    return SAME if any(version.tags[catalogue.DIGEST] == adapter.digest for version in seen) else ABSENT


def _complete(home: Home, name: str, done: spine.Records, before: Any, wanted: dict[str, str]) -> str:
    """Say what is wrong once the work is registered and judged; nothing is, if the answer is empty."""
    from holdfast.registry import aliases, catalogue, ledger, tracking

    client = tracking.client(home)
    registered: Registered = done["register"]
    version = catalogue.get(client, name, registered.version)
    with catalogue.adapter(client, version, home) as folder:
        if contents(folder) != wanted:
            return "OTHER BYTES"
    experiment = tracking.experiment(client, name, home)
    found = client.search_runs([experiment])
    entries = ledger.at(home).history(name)
    models = client.search_logged_models([experiment], f"source_run_id = '{registered.run_id}'")
    wrong = {
        "a run left RUNNING": any(run.info.status != "FINISHED" for run in found),
        "a run beside its own": len(found) != len(catalogue.ready(client, name)),
        "a model beside its own": len(models) != 1,
        "not champion": entries[-1].digest != registered.digest,
        "promoted twice": entries[-1].generation != (before.generation if before else 0) + 1,
        "the alias is behind": aliases.current(client, name).get("champion") != registered.version,
    }
    return next((what for what, so in wrong.items() if so), next(leftovers(home), ""))


def contents(adapter: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that must be the same bytes."""
    return {name: digests.of_file(adapter / name) for name in _FILES}


def leftovers(home: Home) -> Iterator[str]:
    """Yield what a good run should not have left in a home."""
    yield from (f"left: {part.name}" for part in home.path.rglob(f"{parts.PREFIX}*"))
    yield from (f"left: checkpoints of {folder.name[:12]}" for folder in home.checkpoints.glob("*"))


def flow(folder: Path, name: str) -> dict[str, str]:
    """Return {point: what became of it} for a method that the real flow runs, killed at every point in turn."""
    folder.mkdir(parents=True)
    _, made = spine.child(world.make, folder, rows.generates(name))
    file, first, whole, home = world.pipeline(folder, name), folder / "first", folder / "whole", folder / "home"
    run_flow("", first, made)
    copy(first, whole)
    copy(first, home)
    (result,) = run_flow("", whole, file)[1]
    passed = [point for point in points.ALL if point not in points.OWN_WORDS or rows.in_own_words(name)]
    codes = {point.name: run_flow(point.name, home, file)[0] for point in passed}
    said = {name: SAME if code == -signal.SIGKILL else MISSED for name, code in codes.items()}
    code, last = run_flow("", home, file)
    if code:
        return _all(said, "the last run failed")
    found = promoted(last[0], home, runs=2)
    wrong = found.get("wrong", "" if found == promoted(result, whole, runs=2) else "OTHER BYTES")
    return _all(said, wrong or next(leftovers(Home(home)), ""))


def run_flow(point: str, home: Path, *files: Path) -> tuple[int, list[dict[str, Any]]]:
    """Run files in a home, in a process that kills itself at the named point; return (exit code, results)."""
    line = [sys.executable, "-m", "benchmarks.kill.flow", point, str(home), *map(str, files)]
    # This process may have entered a home of its own, whose addresses are in its environment.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=900, env=kept)
    if done.returncode > 0:
        print(done.stderr[-2000:], file=sys.stderr, flush=True)
    return done.returncode, [json.loads(result) for result in done.stdout.splitlines()]


def copy(home: Path, place: Path) -> Path:
    """Copy a home; return the copy's place."""
    shutil.rmtree(place, ignore_errors=True)
    return shutil.copytree(home, place)


def promoted(result: dict[str, Any], place: Path, runs: int) -> dict[str, str]:
    """Return the digests of the files of the one version that a run left promoted, or what is wrong with the home.

    Read from the databases themselves, not through the library that wrote them. There should be so many MLflow `runs`.
    """
    name, version = result["pipeline"], result["version"]
    ledger = _rows(place / "ledger.db", "SELECT version, generation, digest FROM promotions WHERE name = ?", name)
    mlflow = place / "mlflow.db"
    aliases = _rows(mlflow, "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = 'champion'", name)
    wrong = {
        "ledger": [row[:2] for row in ledger] != [(version, 1)],
        "alias": [str(row[0]) for row in aliases] != [version],
        "versions": len(_rows(mlflow, "SELECT version FROM model_versions WHERE name = ?", name)) != 1,
        "runs": _rows(mlflow, "SELECT status, COUNT(*) FROM runs GROUP BY status") != [("FINISHED", runs)],
    }
    if any(wrong.values()):
        return {"wrong": ", ".join(what for what, so in wrong.items() if so)}
    return contents(Home(place).store.open(Artifact(kind="adapter", digest=ledger[0][2])))


def _rows(database: Path, query: str, *values: str) -> list[tuple]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return connection.execute(query, values).fetchall()
