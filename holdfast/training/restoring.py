"""What a checkpoint of a tuning holds, taken from a running job and put back into a fresh one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.errors import HoldfastError
from holdfast.training import machine, randomness

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.training.checkpoints import Checkpoint
    from holdfast.training.job import Job

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def capture(job: Job, optimizer: Any, scheduler: Any) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Return the tensors and the documents that a checkpoint needs, by file name.

    `weights` are the moving parameters, masked ones whole; `best` those that early stopping would go back to.
    """
    randoms, states = randomness.capture()
    tensors = {"weights": dict(job.moving), "optimizer": _moments(job, optimizer), "random": randoms}
    if job.stopping.weights:
        tensors["best"] = job.stopping.weights
    older = job.objective.older
    if older and older.weights:
        tensors["older"] = older.weights
    running = {f"{name}/{key}": tensor for name, own in job.running.items() for key, tensor in own.items()}
    if running:
        tensors["running"] = running
    documents = {
        "random_states": states,
        "scheduler": {k: v for k, v in scheduler.state_dict().items() if k != "lr_lambdas"},
        "rates": [group["lr"] for group in optimizer.param_groups],
        "sampler": {"seed": job.batches.seed, "epoch": job.batches.epoch, "batches": len(job.batches)},
        "curve": job.curve.document(),
        "stopping": job.stopping.document(),
        "anchors": job.anchored_to,
        "refreshed": older.taken if older else None,
        "running": sorted(running),
        "machine": job.machine,
    }
    return tensors, documents


def check(job: Job, checkpoint: Checkpoint) -> None:
    """Raise `HoldfastError` when continuing from the checkpoint could not give the bytes of an uninterrupted run."""
    machine.refuse_other(checkpoint.document("machine"), job.machine, checkpoint.folder)
    sampler = checkpoint.document("sampler")
    same = checkpoint.document("anchors") == job.anchored_to and sampler["seed"] == job.batches.seed
    if not same or sampler["batches"] != len(job.batches):
        raise HoldfastError(
            f"{checkpoint.folder} belongs to another tuning: its anchors or batches are not those of this one. "
            f"Start over by removing {checkpoint.folder.parent}"
        )


def is_last(job: Job, checkpoint: Checkpoint) -> bool:
    """Say whether training had ended when the checkpoint was written: at its last update, or stopped early."""
    worse, patience = checkpoint.document("stopping")["worse"], job.stopping.patience
    stopped = patience is not None and worse >= patience
    return bool(stopped or checkpoint.step >= checkpoint.document("trainer_state")["max_steps"])


def weights(job: Job, checkpoint: Checkpoint) -> None:
    """Put back the moving weights, those of the last refresh, the curve, and early stopping's memory."""
    _copy(checkpoint.tensors("weights"), job.moving)
    curve, stopping = checkpoint.document("curve"), checkpoint.document("stopping")
    for name, value in curve.items():
        setattr(job.curve, name, value)
    for name, value in stopping.items():
        setattr(job.stopping, name, value)
    device = job.model.network.device
    if job.objective.older and checkpoint.document("refreshed") is not None:
        job.objective.older.taken = checkpoint.document("refreshed")
        job.objective.older.weights = {name: t.to(device) for name, t in checkpoint.tensors("older").items()}
    if checkpoint.document("running"):
        for key, tensor in checkpoint.tensors("running").items():
            name, _, own = key.rpartition("/")
            job.running[name][own] = tensor
    if job.stopping.best_step is not None:
        job.stopping.weights = {name: t.to(device) for name, t in checkpoint.tensors("best").items()}


def steps(job: Job, checkpoint: Checkpoint, optimizer: Any, scheduler: Any) -> None:
    """Put back the optimiser's moments, the learning rates and the scheduler's position."""
    inner = getattr(optimizer, "optimizer", optimizer)
    inner.state.clear()
    for key, value in checkpoint.tensors("optimizer").items():
        name, _, kind = key.rpartition("/")
        parameter = job.slices.stepped[name]
        inner.state[parameter][kind] = value.to(parameter.device)
    for group, rate in zip(inner.param_groups, checkpoint.document("rates"), strict=True):
        group["lr"] = rate
    lambdas = scheduler.state_dict()["lr_lambdas"]
    scheduler.load_state_dict({**checkpoint.document("scheduler"), "lr_lambdas": lambdas})


def _moments(job: Job, optimizer: Any) -> dict[str, Tensor]:
    """Return {parameter/kind: tensor}; a parameter that was never stepped has none."""
    state = getattr(optimizer, "optimizer", optimizer).state
    return {
        f"{name}/{kind}": state[parameter][kind]
        for name, parameter in job.slices.stepped.items()
        if parameter in state
        for kind in _MOMENTS
    }


def _copy(values: dict[str, Tensor], parameters: dict[str, Any]) -> None:
    import torch

    if set(values) != set(parameters):
        raise HoldfastError(f"the checkpoint moves other weights: {sorted(set(values) ^ set(parameters))[0]}")
    with torch.no_grad():
        for name, value in values.items():
            parameters[name].copy_(value)
