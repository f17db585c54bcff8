"""Sections 1 to 3: whole tunings, from the start model on disk to what was tuned on disk."""

from __future__ import annotations

import functools
import itertools
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.speed import ours, rivals, world
from benchmarks.speed.world import Side

RATE = 2e-4
TOP = {"layers": [-1, -2]}
TOP_NAMES = r"encoder\.layer\.[45]\.|classifier"
LORA = {"lora": {"r": 8, "alpha": 16, "dropout": 0.0, "targets": ["query", "value"]}}
CT_SFT = {"heads": {"names": ["0.3", "1.7", "2.1", "2.10", "3.4", "4.0", "4.9", "5.5"]}, "layernorm": {}}
FISH = {"mask": {"share": 0.005, "by": "random"}}
PROBLEMS = 48


def _ours(parameters: dict[str, Any], epochs: float, scored: bool = False, **training: Any) -> Side:
    def side(repetition: int) -> dict[str, Any]:
        tuning = ours.classifier(parameters, epochs, repetition + 1, RATE, **training)
        tuned, cost = world.timed(tuning.run)
        return cost | ({"accuracy": ours.accuracy(tuning, tuned.adapter)} if scored else {})

    return side


def _rival(epochs: float, whole: int = 0, **how: Any) -> Side:
    """The first `whole` runs are whole and scored; the others run one epoch at most, counted as often as asked for."""

    def side(repetition: int) -> dict[str, Any]:
        rivals.quiet()
        scored = repetition < whole
        run = epochs if scored else min(1.0, epochs)
        trainer, cost = world.timed(lambda: rivals.classifier(run, repetition + 1, RATE, **how))
        cost["seconds"] += (epochs / run - 1) * trainer.trained
        return cost | ({"accuracy": rivals.accuracy(trainer)} if scored else {})

    return side


def top_layers(epochs: float) -> dict[str, Side]:
    """Top two layers of MiniLM: ours against the Trainer's full tuning and its tuning of the same layers.

    Ours fits the head first, as it does unless told not to, or begins with random values, as a Trainer's does.
    """
    return {
        "holdfast": _ours(TOP, epochs, scored=True),
        "holdfast, random head": _ours(TOP, epochs, scored=True, new_head="random"),
        "Trainer, full": _rival(epochs, whole=1, grouped=False),
        "Trainer, full, grouped": _rival(epochs, grouped=True),
        "Trainer, same layers": _rival(epochs, whole=5, grouped=False, moving=TOP_NAMES),
        "Trainer, same layers, grouped": _rival(epochs, grouped=True, moving=TOP_NAMES),
    }


def lora(epochs: float) -> dict[str, Side]:
    """LoRA on query and value of MiniLM, against PEFT under a bare Trainer."""
    return {
        "holdfast": _ours(LORA, epochs),
        "Trainer + PEFT": _rival(epochs, grouped=False, lora=True),
        "Trainer + PEFT, grouped": _rival(epochs, grouped=True, lora=True),
        "holdfast, CT-SFT": _ours(CT_SFT, epochs),
        "holdfast, FISH mask": _ours(FISH, epochs),
    }


def memory(epochs: float) -> dict[str, Side]:
    """The same in processes of their own: their peak memory."""
    return {
        "holdfast, CT-SFT": _ours(CT_SFT, epochs),
        "holdfast, FISH mask": _ours(FISH, epochs),
        "Trainer, full": _rival(epochs, grouped=False),
    }


def compiled(epochs: float) -> dict[str, Side]:
    """Every weight of MiniLM, with and without `torch.compile`, which has compiled nothing before."""

    def side(wanted: bool) -> Side:
        def work(repetition: int) -> dict[str, Any]:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp(prefix="compiled-")
            ends: list[float] = []
            tuning = ours.classifier({"full": {}}, epochs, repetition + 1, RATE, compile=wanted)
            _, cost = world.timed(lambda: tuning.run(lambda *told: ends.append(time.perf_counter())))
            return cost | {"update": statistics.median(b - a for a, b in itertools.pairwise(ends))}

        return work

    return {"as it is": side(False), "compiled": side(True)}


@functools.cache
def _folder() -> Path:
    return world.decoder_folder(Path(tempfile.mkdtemp(prefix="holdfast-decoder-")))


def decoder(problems: int = PROBLEMS) -> dict[str, Side]:
    """LoRA on query and value of a small decoder, rows of mixed lengths, against trl."""

    def holdfast(repetition: int) -> dict[str, Any]:
        parameters = {"lora": {"r": 8, "alpha": 16, "dropout": 0.0, "targets": ["q_proj", "v_proj"]}}
        tuning = ours.decoder(_folder(), parameters, 1, repetition + 1, RATE, problems)
        return world.timed(tuning.run)[1]

    def trl(how: str) -> Side:
        def side(repetition: int) -> dict[str, Any]:
            rivals.quiet()
            return world.timed(lambda: rivals.decoder(_folder(), 1, repetition + 1, RATE, problems, how))[1]

        return side

    return {"holdfast": holdfast, **{f"SFTTrainer, {how}": trl(how) for how in ("padded", "grouped", "packed")}}
