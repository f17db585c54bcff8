"""The flow `adapt-drift`: what the automation on an alarm starts; it is given a decision's key and nothing else."""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.states import Completed, State

from flows import act as acting
from holdfast import home as homes
from holdfast.errors import BadInput, Conflict


@flow(name="adapt-drift", flow_run_name="adapt-drift {decision}", persist_result=False)
async def adapt_drift(decision: str, file: str, overrides: list[str], home: str) -> dict[str, Any] | State:
    """Do what a decision in the book asks for; return the result (`holdfast.records.Result`) as a dictionary.

    Of a rollback the ledger's entry is returned.

    Where there is no such decision, or it was used up, or another adaptation is under way, nothing is begun: the run
    ends as `NotStarted`, with the reason.
    """
    place = homes.make(Path(home))
    try:
        undone = acting.undo(decision, Path(file), overrides, place)
        if undone is not None:
            return undone.model_dump(mode="json")
        begun = acting.begin(decision, Path(file), overrides, place)
    except (BadInput, Conflict) as refusal:
        return Completed(name="NotStarted", message=str(refusal))
    result = await acting.finish(begun, Path(file), overrides, place)
    return result.model_dump(mode="json")
