"""What killed processes leave in a home: half-made things, gone when the next run begins, and checkpoints, which last.

Checkpoints of a killed tuning are kept until the same tuning is run again and finishes. Where that never happens,
because its file was changed meanwhile, a later run removes them when they are a week old. What comparisons keep ends
when nobody used it for a month: see `holdfast.comparison.kept`.
"""

import json
import time

from holdfast import parts
from holdfast.comparison import kept
from holdfast.home import Home

CHECKPOINT_DAYS = 7
_DAY = 24 * 60 * 60


def remove_halves(home: Home) -> None:
    """Remove half-made folders that no living process works on, and half-written results of stages."""
    places = [home.path, home.store.root / "scratch", home.cache / "scores", home.cache / "prefix", home.checkpoints]
    for place in [*places, *home.checkpoints.glob("*"), *home.reports.glob("*/*")]:
        parts.sweep(place)
    for file in home.results.glob("*"):
        try:
            json.loads(file.read_text(encoding="utf-8"))
        except ValueError:  # Prefect writes results in place, and would fail on reading half of one
            file.unlink(missing_ok=True)
        except OSError:  # gone meanwhile
            continue


def remove_old(home: Home) -> None:
    """Remove the checkpoints of tunings that nobody has gone on with for `CHECKPOINT_DAYS`, and old comparisons."""
    for tuning in home.checkpoints.glob("*"):
        if time.time() - tuning.stat().st_mtime > CHECKPOINT_DAYS * _DAY:
            parts.remove(tuning)
    kept.remove(home)
