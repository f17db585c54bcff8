"""Read by Python at the start of every process that has this folder on its path: a run stops where the driver says.

Where the file that HOLDFAST_TRAP names holds a stage's name, the run that comes to that stage renames the file to
`....sprung` and stops itself (SIGSTOP), until the driver lets it go on or kills it.
"""

import importlib.util
import os
import signal
import sys
from pathlib import Path


class _Finder:
    """Finds `flows.stages` as Python would, and arms it once it is loaded."""

    def find_spec(self, name, path=None, target=None):  # noqa: ANN001, ANN202 - importlib's own signature
        if name != "flows.stages":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def execute_and_arm(module) -> None:  # noqa: ANN001
            execute(module)
            _arm(module.Stages)

        spec.loader.exec_module = execute_and_arm
        return spec


def _arm(stages) -> None:  # noqa: ANN001
    run, trap = stages.run, Path(os.environ["HOLDFAST_TRAP"])

    async def stopping(self, stage, gives, **inputs):  # noqa: ANN001, ANN003, ANN202
        if trap.exists() and trap.read_text() == stage.name:
            trap.rename(trap.with_suffix(".sprung"))
            os.kill(os.getpid(), signal.SIGSTOP)
        return await run(self, stage, gives, **inputs)

    stages.run = stopping


if os.environ.get("HOLDFAST_TRAP") and os.environ.get("PREFECT__FLOW_RUN_ID"):
    sys.meta_path.insert(0, _Finder())
