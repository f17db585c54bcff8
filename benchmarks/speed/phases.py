"""Where the time of a tuning goes: clocks around the functions that do the parts, each without the parts inside it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from benchmarks.speed import ours, tuning, world
from benchmarks.speed.world import Side

REST = "the rest"


def sides() -> dict[str, Side]:
    """Return the tunings of sections 1 to 3, with the seconds of their parts."""
    return {"top two layers": _side(tuning.TOP, 4), "LoRA": _side(tuning.LORA, 1), "CT-SFT": _side(tuning.CT_SFT, 1)}


def _side(parameters: dict[str, Any], epochs: float) -> Side:
    def work(repetition: int) -> dict[str, Any]:
        given = ours.classifier(parameters, epochs, repetition + 1, tuning.RATE)
        with _clocks() as taken:
            _, cost = world.timed(given.run)
        return {"seconds": cost["seconds"], **taken, REST: cost["seconds"] - sum(taken.values())}

    return work


def _timed() -> dict[str, list[tuple[Any, str]]]:
    """Return which functions do each part."""
    from accelerate import Accelerator
    from accelerate.optimizer import AcceleratedOptimizer

    from holdfast import digests, models
    from holdfast.importance import probe
    from holdfast.prefix.cache import Prefix
    from holdfast.training import tune
    from holdfast.training.trainer import TuningTrainer

    return {
        "forward passes of updates": [(TuningTrainer, "compute_loss")],
        "backward passes": [(Accelerator, "backward")],
        "clipping and AdamW": [(TuningTrainer, "_clip_grad_norm"), (AcceleratedOptimizer, "step")],
        "frozen layers, once": [(Prefix, "_made")],
        "first values of the head": [(probe, "fit")],
        "start model read": [(models, "load")],
        "checkpoints": [(TuningTrainer, "_save_checkpoint")],
        "adapter, curve and picture written": [(tune, "_finish")],
        "digests": [(digests, "of_file")],
        "collecting garbage, as accelerate begins": [(Accelerator, "free_memory")],
    }


@contextmanager
def _clocks() -> Iterator[dict[str, float]]:
    """Give the seconds of every part, filled while what is inside runs."""
    functions = _timed()
    taken, inside = dict.fromkeys(functions, 0.0), [0.0]

    def clocked(part: str, work: Any) -> Any:
        def run(*args: Any, **kwargs: Any) -> Any:
            inside.append(0.0)
            begun = time.perf_counter()
            try:
                return work(*args, **kwargs)
            finally:
                whole = time.perf_counter() - begun
                taken[part] += whole - inside.pop()
                inside[-1] += whole

        return run

    with ExitStack() as stack:
        for part, found in functions.items():
            for owner, name in found:
                stack.enter_context(mock.patch.object(owner, name, clocked(part, getattr(owner, name))))
        yield taken
