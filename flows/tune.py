"""The flow `tune`: what a worker of another work pool does of an adaptation; `tasks.elsewhere` makes its deployments.

The worker's own environment says where it keeps things and where MLflow is; nothing of another machine's disk is read.
"""

import os
from pathlib import Path

from prefect import flow
from prefect.states import Completed, State

from flows.stages import Stages
from holdfast import home as homes
from holdfast.errors import BadInput
from holdfast.home import Home
from holdfast.records import Tuned
from tasks.tune import tune as tuning


@flow(name="tune", flow_run_name="tune {run_id}", persist_result=False)
async def tune(run_id: str, digest: str) -> State:
    """Do the tuning that lies in the MLflow run `run_id`; `digest` is that of its job.

    The message of the final state is the digest of what was handed back. Raises `Fenced` where nobody waits for it.
    """
    home = _home()
    from holdfast.registry import handover

    home = handover.lent(run_id, home)
    job = handover.take(handover.Address(run_id=run_id, digest=digest), home)
    tuned = await Stages(home).run(
        tuning, Tuned, selected=job.selected, assessed=job.assessed, validated=job.validated, start=job.start,
        recipe=job.recipe, remember=job.remember, teacher=job.teacher,
    )  # fmt: skip
    return Completed(message=handover.give(tuned, run_id, home).digest)


def _home() -> Home:
    """Return the worker's home with its environment in place; raises `BadInput` where the worker has none."""
    place = os.environ.get("HOLDFAST_HOME")
    if not place:
        raise BadInput("a worker needs a place for checkpoints", key="HOLDFAST_HOME", expected="an absolute folder")
    if not os.environ.get("MLFLOW_TRACKING_URI", "").startswith("http"):
        raise BadInput(
            "a worker takes its work from an MLflow server", key="MLFLOW_TRACKING_URI", expected="its address, http..."
        )
    home = homes.make(Path(place).resolve())
    for name, value in homes.environment(home).items():
        os.environ.setdefault(name, value)
    return home
