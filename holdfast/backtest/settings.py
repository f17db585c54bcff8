"""What to replay, and the home that a replay has for itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from holdfast import digests, spec
from holdfast import home as homes
from holdfast.backtest import policies
from holdfast.home import Home

# Addresses of servers and databases that a home may share with production.
SHARED = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "HOLDFAST_LEDGER", "PREFECT_API_URL")


@dataclass(frozen=True)
class Settings:
    """What to replay: the stream, its part, the policies, the calendar's and the labels' hours, and the seed."""

    stream: str
    since: str | None = None
    until: str | None = None
    policies: tuple[str, ...] = policies.POLICIES
    every: float | None = None
    label_delay: float = 0.0
    seed: int | None = None
    overrides: tuple[str, ...] = ()

    @property
    def changes(self) -> list[str]:
        """What is changed in the pipeline file for all policies."""
        seeded = [] if self.seed is None else [f"training.seed={self.seed}", f"monitor.seed={self.seed}"]
        return [*self.overrides, *seeded]


def own_home(file: Path, settings: Settings, home: Home) -> Home:
    """Return the home of a backtest, below `home`, named by all that decides its result."""
    pipeline = spec.load(file, settings.changes)
    given = [settings.stream, settings.since, settings.until, settings.every, settings.label_delay]
    known = digests.of_json([pipeline.resolved(), pipeline.monitor.model_dump(mode="json"), given])
    return homes.make(home.path / "backtests" / f"{pipeline.name}-{known[:12]}")
