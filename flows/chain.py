"""A chain of files: one whose start model is not registered yet is preceded by the file that makes it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast import spec
from holdfast.errors import BadInput, HoldfastError
from holdfast.home import Home
from holdfast.records import Result

_MODELS = "models:/"


def run(file: Path, overrides: list[str], home: Home, announce: Callable[[str], None] = lambda line: None) -> Result:
    """Run `adapt` for `file`, which does so for the files that it needs first; return the result.

    Raises `BadInput` when files need each other in a circle, `HoldfastError` when a needed one was not promoted.
    """
    from flows import known, server
    from flows.adapt import adapt
    from flows.bare import plain

    told = known.tell(file, overrides, home)
    if told is not None:
        return told
    files = needed(file, overrides, home)
    server.ready(home)
    for path in files:
        announce(f"{path}: makes the start model of {file}; running it first")
    return Result(**asyncio.run(plain(adapt)(str(file), overrides, str(home.path))))


def check_made(path: Path, result: dict[str, Any], file: str) -> None:
    """Raise `HoldfastError` where the run of `path` was to make what `file` starts from, and was not promoted."""
    made = Result(**result)
    if made.verdict != "promoted":
        raise HoldfastError(f"{path}: was not promoted ({made.reason}), so {file} has nothing to start from")


def needed(file: Path, overrides: list[str], home: Home) -> list[Path]:
    """Return the files to run before `file`, the first one first, all of whose data are there by a glance."""
    from holdfast.registry import versions

    files: list[Path] = []
    pipeline = _read(file, overrides)
    while pipeline.start.made_by and pipeline.start.model.startswith(_MODELS):
        name = pipeline.start.model.removeprefix(_MODELS).replace("/", "@").partition("@")[0]
        if versions.exists(name, home):
            break
        made_by = pipeline.start.made_by
        if made_by in files or made_by == file.resolve():
            raise BadInput("start models are made by each other in a circle", file=made_by, key="start.made_by")
        files.insert(0, made_by)
        pipeline = _read(made_by, [])
    return files


def _read(file: Path, overrides: list[str]) -> spec.Pipeline:
    from holdfast.versioning import prepare

    pipeline = spec.load(file, overrides)
    prepare.glance(pipeline.learn, pipeline.remember)
    return pipeline
