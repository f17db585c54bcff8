"""Where state lives: one folder, the home, found from `--home`, `HOLDFAST_HOME` or the nearest `.holdfast/`."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from holdfast.errors import BadInput
from holdfast.store import Store

if TYPE_CHECKING:
    from sqlalchemy import Connection

_MARKER = "holdfast-home"


class Fence(Protocol):
    """What knows whether a run may still write (`holdfast.registry.fencing`)."""

    def check(self, within: "Connection | None" = None) -> None:
        """Raise `Fenced` where another run took this one's place; `within` a transaction: nor can it meanwhile."""

    def document(self) -> dict[str, Any]:
        """Return what `fencing.read` makes the same fence of, in another process."""


@dataclass(frozen=True)
class Home:
    """Paths inside one home folder; everything a run writes is below `path`. A run may be held back by a `fence`."""

    path: Path
    fence: Fence | None = None

    def check_fence(self) -> None:
        """Raise `Fenced` where another run took this one's place; to be asked right before what counts is written."""
        if self.fence is not None:
            self.fence.check()

    @property
    def store(self) -> Store:
        """The content-addressed artifact store."""
        return Store(self.path / "artifacts")

    @property
    def data(self) -> Path:
        """The private DVC repository of imported, fetched and production data."""
        return self.path / "data"

    @property
    def cache(self) -> Path:
        """Where pooch keeps downloads."""
        return self.path / "cache"

    @property
    def results(self) -> Path:
        """Where Prefect keeps what the stages returned, one JSON file per cache key."""
        return self.path / "results"

    @property
    def reports(self) -> Path:
        """Human-readable reports, one folder per run."""
        return self.path / "reports"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints of tunings under way, one folder per cache key."""
        return self.path / "checkpoints"

    @property
    def tracking_uri(self) -> str:
        """MLflow's address: `MLFLOW_TRACKING_URI` when set, else SQLite in this home."""
        return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.path / 'mlflow.db'}"

    @property
    def ledger_url(self) -> str:
        """SQLAlchemy address of the ledger: `HOLDFAST_LEDGER` when set, else SQLite in this home."""
        return os.environ.get("HOLDFAST_LEDGER") or f"sqlite:///{self.path / 'ledger.db'}"


def find(explicit: Path | None = None, start: Path | None = None) -> Home:
    """Return the home: `explicit`, else `HOLDFAST_HOME`, else the nearest `.holdfast/` above `start`, else a new one.

    The folder is created and marked. Raises `BadInput` when it cannot be written to.
    """
    return make(locate(explicit, start))


def locate(explicit: Path | None = None, start: Path | None = None) -> Path:
    """Return where the home is or would be, by the rule of `find`, creating nothing."""
    here = (start or Path.cwd()).resolve()
    named = explicit or (Path(os.environ["HOLDFAST_HOME"]) if os.environ.get("HOLDFAST_HOME") else None)
    return named.expanduser().resolve() if named else _nearest(here) or here / ".holdfast"


def _nearest(here: Path) -> Path | None:
    return next((f / ".holdfast" for f in (here, *here.parents) if (f / ".holdfast" / _MARKER).is_file()), None)


def make(path: Path) -> Home:
    """Create the home folder at `path` if it is not there, check that it can be written to, and mark it.

    Raises `BadInput` when it cannot be written to, or holds something but homes (`make demo` has its own in the
    checkout's) and is not a home: `reset` would remove that.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
        marker = path / _MARKER
        if not marker.exists():
            if not _holds_only_homes(path):
                raise BadInput(
                    "the folder holds something and is not a Holdfast home",
                    file=path,
                    remedy="Choose a new or an empty folder with --home.",
                )
            marker.write_text("This folder is a Holdfast home: `holdfast reset --yes --home THIS_FOLDER` removes it.\n")
            (path / ".gitignore").write_text("*\n")
    except OSError as error:
        raise BadInput(
            f"the home folder cannot be written to ({error.strerror})", file=path, remedy="Choose another with --home."
        ) from error
    return Home(path)


def _holds_only_homes(folder: Path) -> bool:
    """Say whether whatever lies in a folder, or in folders in it, are homes; an empty one holds nothing else."""
    return all(
        not entry.is_symlink() and entry.is_dir() and (is_home(entry) or _holds_only_homes(entry))
        for entry in folder.iterdir()
    )


def is_home(path: Path) -> bool:
    """Say whether `path` was made by Holdfast, so that `reset` may remove it."""
    return (path / _MARKER).is_file()


def others_within(path: Path) -> list[Path]:
    """Return the homes that lie in the home at `path` and are not its own, as its backtests' are."""
    homes = sorted(marker.parent for marker in path.rglob(_MARKER))
    return [home for home in homes if home != path and not home.is_relative_to(path / "backtests")]


def remove(path: Path) -> list[Path]:
    """Remove the home at `path`, its mark last, with all that is in it but other homes; return those."""
    others, mark = others_within(path), path / _MARKER
    _clear(path, {mark, *others})
    mark.unlink()
    if not others:
        path.rmdir()
    return others


def _clear(folder: Path, spared: set[Path]) -> None:
    """Remove what lies in a folder, but not what is spared nor the folders on the way to it."""
    for entry in folder.iterdir():
        if entry in spared:
            continue
        if entry.is_symlink() or not entry.is_dir():
            entry.unlink()
        elif any(one.is_relative_to(entry) for one in spared):
            _clear(entry, spared)
        else:
            shutil.rmtree(entry)


def environment(home: Home) -> dict[str, str]:
    """Return the environment that keeps Prefect, MLflow, GX and DVC inside `home`, quiet and private.

    Must be in place before any of them is imported. Addresses that the user set explicitly are left alone.
    """
    prefect = home.path / "prefect"
    return {
        "PREFECT_HOME": str(prefect),
        "PREFECT_PROFILES_PATH": str(prefect / "profiles.toml"),
        "PREFECT_LOCAL_STORAGE_PATH": str(home.results),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
        "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # seconds; infra/automations/crashed.yaml goes by it
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": home.tracking_uri,
        "MLFLOW_REGISTRY_URI": os.environ.get("MLFLOW_REGISTRY_URI") or home.tracking_uri,
        "GX_ANALYTICS_ENABLED": "false",
        "DVC_NO_ANALYTICS": "1",
        "DVC_GLOBAL_CONFIG_DIR": str(home.path / "dvc"),
        "DVC_SYSTEM_CONFIG_DIR": str(home.path / "dvc"),
        "DVC_SITE_CACHE_DIR": str(home.path / "dvc" / "site"),
        "MPLCONFIGDIR": str(home.path / "cache" / "matplotlib"),
        "MPLBACKEND": "Agg",
        "TOKENIZERS_PARALLELISM": "false",
        "HOLDFAST_HOME": str(home.path),
    }
