"""What comparisons and merges keep in a home so that they can go on, and its end.

`comparison/units` holds the result of every unit, `comparison/stages` the records of stages that units share, whose
artifacts lie in the store. Using one touches it. Records that nobody used for `DAYS` end with the artifacts that no
other record names; so do all of them where that is asked for. Nothing is lost but time: the next comparison makes them
again. Datasets stay, which versions may be retrained on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from holdfast.home import Home
from holdfast.records import Artifact

DAYS = 30
_DAY = 24 * 60 * 60
_MADE_AGAIN = ("importance", "circuit", "selection", "curve", "trajectory", "evaluation", "adapter")


def units(home: Home) -> Path:
    """Return where the results of units are."""
    return home.path / "comparison" / "units"


def stages(home: Home) -> Path:
    """Return where the records of stages are."""
    return home.path / "comparison" / "stages"


def records(home: Home, days: float = 0) -> list[Path]:
    """Return the records that nobody used for so many days; all of them for 0."""
    every = [path for place in (units(home), stages(home)) for path in sorted(place.glob("*.json"))]
    return [path for path in every if not days or time.time() - _used(path) >= days * _DAY]


def remove(home: Home, days: float = DAYS) -> int:
    """Remove the records that nobody used for so many days, and what only they name; return how many there were."""
    ended = records(home, days)
    named = {artifact.digest: artifact for path in ended for artifact in _artifacts(_read(path))}
    for path in ended:
        path.unlink(missing_ok=True)
    if named:
        others = [*records(home), *home.results.glob("*")]
        needed = "".join(path.read_text(encoding="utf-8", errors="replace") for path in others if path.is_file())
        for digest, artifact in named.items():
            if digest not in needed:
                home.store.discard(artifact)
    return len(ended)


def _used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another process has removed it
        return time.time()


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _artifacts(value: Any) -> Iterator[Artifact]:
    """Yield the artifacts below a JSON value that can be made again."""
    if isinstance(value, dict):
        if value.get("kind") in _MADE_AGAIN and "digest" in value:
            yield Artifact(kind=value["kind"], digest=value["digest"])
        if value.get("kind") == "final" and value.get("evaluation"):
            yield Artifact(kind="evaluation", digest=value["evaluation"])
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        yield from _artifacts(one)
