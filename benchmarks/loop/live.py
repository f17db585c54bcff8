"""A home with `holdfast up` running, driven from outside: the command line, the book, the servers' own interfaces."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from holdfast import services
from holdfast.decisions import book
from holdfast.decisions.rule import Past
from holdfast.home import Home

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 900.0  # seconds until something that is waited for counts as never seen
_OVER = ("COMPLETED", "CANCELLED", "FAILED", "CRASHED")


class Live:
    """One pipeline in one home; `name` is that of the pipeline, `folder` holds its file and the home."""

    def __init__(self, file: Path, name: str, every: str, **given: str) -> None:
        """Prepare; `given` are further environment variables of the commands."""
        self.file, self.name, self.every = file, name, every
        self.folder, self.home = file.parent, Home(file.parent / "home")
        self.user = self.folder / "user"
        self.user.mkdir(exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
        own = {"PYTHONPATH": str(ROOT), "HOME": str(self.user), "OMP_NUM_THREADS": "1"}
        self.environment = {**kept, **own, **given}

    def call(self, *args: str, code: int | None = 0) -> dict[str, Any]:
        """Call `holdfast ARGS` from a folder of nobody's; return its JSON object. None accepts any exit code."""
        line = [str(Path(sys.executable).with_name("holdfast")), *args, "--home", str(self.home.path), "--json"]
        done = subprocess.run(
            line, cwd=self.user, capture_output=True, text=True, timeout=2 * PATIENCE, env=self.environment
        )
        if code is not None and done.returncode != code:
            raise AssertionError(f"{line}: exit {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.logs()}")
        return dict(json.loads(done.stdout))

    def up(self) -> dict[str, Any]:
        """Start what is not running."""
        return self.call("up", str(self.file), "--every", self.every)

    def logs(self) -> str:
        """Return the ends of the services' logs."""
        files = sorted((self.home.path / "up").glob("*.log"))
        return "".join(f"\n--- {file.name}\n{file.read_text(errors='replace')[-3000:]}" for file in files)

    def until(self, seen: Callable[[], Any], what: str) -> Any:
        """Wait until something is seen, and return it; raises `AssertionError` where it never is."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with contextlib.suppress(OSError):  # a server that does not answer now may answer later
                if found := seen():
                    return found
            time.sleep(0.3)
        raise AssertionError(f"never seen: {what}\n{self.past()}\n{self.logs()}")

    def past(self) -> Past:
        """Return the book's decisions and adaptations."""
        return book.at(self.home).past(self.name)

    def events(self) -> list[str]:
        """Return the events of the adaptations, oldest first."""
        return [event.event for event in self.past().adaptations]

    def outcomes(self) -> list[str]:
        """Return what was decided, rounds left out in which there was nothing to do."""
        return [d.outcome for d in self.past().decisions if d.outcome not in ("nothing", "busy")]

    def state(self) -> services.Up:
        """Return what `up` wrote down."""
        found = services.read(self.home)
        assert found is not None
        return found

    def ask(
        self,
        path: str,
        value: Any = None,
        role: str = "prefect",
        headers: dict[str, str] | None = None,
        method: str | None = None,
    ) -> Any:
        """Send a request to a server of the home and return the answer."""
        body = None if value is None else json.dumps(value).encode()
        given = {"Content-Type": "application/json", **(headers or {})}
        request = urllib.request.Request(self.state().addresses[role] + path, data=body, headers=given, method=method)
        with urllib.request.urlopen(request, timeout=120) as reply:
            said = reply.read()
        return json.loads(said) if said else None

    def csrf(self) -> dict[str, str]:
        """Return the headers without which Prefect's server takes no change."""
        client = str(uuid.uuid4())
        token = self.ask(f"/api/csrf-token?client={client}")["token"]
        return {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": client}

    def runs(self, flow: str) -> list[dict[str, Any]]:
        """Return the runs of a flow, oldest first."""
        wanted = {"flows": {"name": {"any_": [flow]}}, "sort": "START_TIME_ASC"}
        return list(self.ask("/api/flow_runs/filter", wanted, headers=self.csrf()))

    def ended(self, flow: str, count: int) -> list[dict[str, Any]]:
        """Return the runs of a flow, once there are so many and all have ended."""
        found = self.runs(flow)
        over = [run for run in found if run["state_type"] in _OVER]
        return found if len(over) == len(found) >= count else []

    def stuck(self) -> list[str]:
        """Return the deployments that hold a slot though nothing is under way."""
        limits = self.ask("/api/v2/concurrency_limits/filter", {}, headers=self.csrf())
        running = self.call("status")["runs"]
        return [limit["name"] for limit in limits if limit["active_slots"] and not running]

    def champion(self) -> str:
        """Return the version that `models:/NAME@champion` is, by the MLflow server."""
        path = f"/api/2.0/mlflow/registered-models/alias?name={self.name}&alias=champion"
        return str(self.ask(path, role="mlflow")["model_version"]["version"])

    def alive(self, run: bool) -> list[int]:
        """Return the processes of flow runs, or those of the services."""
        return [pid for pid, given in services.found(self.state()).items() if (services.RUN in given) is run]

    def kill(self, pids: Iterable[int], number: int = signal.SIGKILL) -> None:
        """Send a signal to processes."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
