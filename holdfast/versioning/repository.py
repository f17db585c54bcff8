"""The home's private DVC repository: every imported, fetched or production file is one import stage there.

A stage (`imports/NAME.dvc`) depends on the source file and has a copy of it as its output. DVC runs import stages in
process, keeping its lock, whatever the current folder; a stage with a command would release the lock while the command
runs, and DVC 3.67 reproduces it only from inside the repository. Nothing is written beside the source, and no DVC
repository that the source may lie in is looked at.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from holdfast import home as homes
from holdfast import parts
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.home import Home

LOCK_TIMEOUT = 600.0  # seconds
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Import:
    """A source file as DVC holds it: `path` is the copy in DVC's cache, whose bytes never change, `md5` its name."""

    path: Path
    md5: str


def imported(home: Home, sources: Iterable[Path]) -> dict[Path, Import]:
    """Bring the private repository up to date with `sources` (absolute paths of files) and say what it holds of each.

    Asks DVC every time; it copies only what changed. Waits up to `LOCK_TIMEOUT` seconds for another process that holds
    DVC's lock. Raises `HoldfastError` when it waited in vain or DVC fails.
    """
    wanted = sorted(set(sources))
    with _environment(home):
        _initialise(home)
        return _patiently(home, wanted)


def _patiently(home: Home, sources: list[Path]) -> dict[Path, Import]:
    """Import once the lock is free. DVC itself tries for three seconds each time."""
    from dvc.exceptions import DvcException
    from dvc.lock import LockError

    start = time.monotonic()
    waited = False
    while True:
        try:
            return _import(home, sources)
        except DvcException as error:
            if not any(isinstance(cause, LockError) for cause in _causes(error)):
                why = ": ".join(str(cause) for cause in _causes(error))
                raise HoldfastError(f"{home.data}: DVC could not import the data ({why})") from error
            if time.monotonic() - start >= LOCK_TIMEOUT:
                raise HoldfastError(_locked(home)) from error
            if not waited:
                _log.warning("waiting for another process that holds DVC's lock on %s", home.data)
            waited = True


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _locked(home: Home) -> str:
    lock = home.data / ".dvc" / "tmp" / "lock"
    return (
        f"{home.data}: another process held DVC's lock for {LOCK_TIMEOUT:g} s ({lock} names its process id); "
        "let it finish, or end it, and run again"
    )


def _import(home: Home, sources: list[Path]) -> dict[Path, Import]:
    from dvc.repo import Repo, lock_repo

    folder = home.data.resolve() / "imports"
    folder.mkdir(exist_ok=True)
    with Repo(str(home.data.resolve())) as repo, lock_repo(repo):
        repo.state.set_link = _keep_no_list  # DVC's list of links is a database of pickles, and nothing here reads it
        _mend(repo, folder)
        stages = {source: _stage(repo, folder, source) for source in sources}
        if stages:
            repo.reproduce([str(stage) for stage in stages.values()], single_item=True)
        return {source: _held(repo, stage) for source, stage in stages.items()}


def _keep_no_list(path: str, inode: int, mtime: str) -> None:
    """Stand in for DVC's `State.set_link`."""


def _mend(repo: Any, folder: Path) -> None:
    """Remove what a killed process left behind: DVC writes both in place, and does not start beside a torn one.

    Whoever holds DVC's lock is alone here, so that every other process in DVC's list of readers and writers is dead.
    """
    (Path(repo.tmp_dir) / "rwlock").unlink(missing_ok=True)
    for stage in folder.glob("*.dvc"):
        if not _whole(stage):
            _log.warning("%s: a process was killed while DVC wrote it; it is made anew", stage)
            stage.unlink()


def _whole(stage: Path) -> bool:
    """Say whether a stage file ends as DVC ends it: with the name of its output."""
    try:
        return bool(yaml.safe_load(stage.read_bytes())["outs"][-1]["path"] == stage.stem)
    except (yaml.YAMLError, UnicodeDecodeError, LookupError, TypeError):
        return False


def _stage(repo: Any, folder: Path, source: Path) -> Path:
    """Return the stage file of a source, made if it is new: the one place where stages come from."""
    readable = re.sub(r"[^A-Za-z0-9-]+", "-", source.stem)[:40]
    output = folder / f"{readable}-{hashlib.sha256(str(source).encode()).hexdigest()[:12]}{source.suffix.lower()}"
    stage = output.with_name(f"{output.name}.dvc")
    if not stage.exists():
        repo.imp_url(str(source), out=str(output), no_exec=True, frozen=False, force=True)
    return stage


def _held(repo: Any, stage: Path) -> Import:
    md5 = yaml.safe_load(stage.read_text(encoding="utf-8"))["outs"][0]["md5"]
    return Import(path=Path(repo.cache.local.oid_to_path(md5)), md5=md5)


@contextmanager
def _environment(home: Home) -> Iterator[None]:
    """Keep DVC inside the home and its chatter off the terminal, then put everything back."""
    wanted = {name: value for name, value in homes.environment(home).items() if name.startswith("DVC_")}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    import dvc.repo  # noqa: F401 - it sets its logger up, which must come before it is quietened

    logger = logging.getLogger("dvc")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _initialise(home: Home) -> None:
    """Make the repository where there is none; of two processes that try, one makes it and both go on."""
    place = home.data / ".dvc"
    if place.is_dir():
        return
    from dvc.repo import Repo

    home.data.mkdir(parents=True, exist_ok=True)
    with parts.making(home.path) as part:
        with Repo.init(str(part), no_scm=True) as repo, repo.config.edit() as config:
            config["core"] |= {"analytics": False, "check_update": False}
            config["cache"]["type"] = ["reflink", "hardlink", "copy"]
        try:
            (part / ".dvc").rename(place)
        except OSError:
            if not place.is_dir():
                raise
