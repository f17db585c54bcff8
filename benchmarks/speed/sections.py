"""The sections: their sides in order, how often they alternate, and what warms threads and libraries before."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.speed.world import Side

Sides = Callable[[], dict[str, Side]]


@dataclass(frozen=True)
class Section:
    """`make` gives the sides, `names` are theirs in order.

    With `alone` each side runs in a process of its own; what is `extra` is measured only where it is asked for.
    """

    make: Sides
    names: tuple[str, ...]
    repetitions: int = 5
    alone: bool = False
    extra: bool = False
    warm: Callable[[], None] = lambda: None

    def sides(self) -> dict[str, Side]:
        """Return the sides by name."""
        return self.make()


def _of(module: str, which: str, *given: float) -> Sides:
    def make() -> dict[str, Side]:
        found: dict[str, Side] = getattr(importlib.import_module(f"benchmarks.speed.{module}"), which)(*given)
        return found

    return make


def _warm_tuning() -> None:
    """Tune on few rows, on both sides."""
    from benchmarks.speed import ours, rivals, tuning

    rivals.quiet()
    for parameters in (tuning.TOP, tuning.LORA):
        ours.classifier(parameters, 1, 0, tuning.RATE, 32).run()
    rivals.classifier(1, 0, tuning.RATE, grouped=True, lora=True, count=32)


def _warm(module: str, which: str, *given: float) -> Callable[[], None]:
    """Run every side once."""

    def work() -> None:
        for side in _of(module, which, *given)().values():
            side(0)

    return work


def _warm_comparison() -> None:
    from benchmarks.speed import comparison

    comparison.warm()


def _plain(module: str, which: str, names: tuple[str, ...]) -> Section:
    return Section(_of(module, which), names, warm=_warm(module, which))


_TOP = (
    "holdfast", "holdfast, random head", "Trainer, full", "Trainer, full, grouped", "Trainer, same layers",
    "Trainer, same layers, grouped",
)  # fmt: skip
# Right behind a rival a run is slower for what that left of the memory: LoRA and CT-SFT both follow one of ours.
_LORA = ("Trainer + PEFT", "Trainer + PEFT, grouped", "holdfast, FISH mask", "holdfast", "holdfast, CT-SFT")
_MEMORY = ("holdfast, CT-SFT", "holdfast, FISH mask", "Trainer, full")
_PARTS = ("top two layers", "LoRA", "CT-SFT")
_COMPILED = ("as it is", "compiled")
_TRL = ("holdfast", "SFTTrainer, padded", "SFTTrainer, grouped", "SFTTrainer, packed")
_LIKELIHOOD = ("holdfast", "holdfast, fp32", "lm-eval, bf16", "lm-eval, fp32")
_FISHER = ("forward and backward, fp32", "Fisher, fp32", "forward and backward, bf16", "Fisher, bf16")
_HEADS = ("one head at a time", "holdfast", "holdfast, bf16")
_PREDICT = ("holdfast", "holdfast, again", "Trainer.predict", "Trainer.predict, bf16 weights")

ALL: dict[str, Section] = {
    "top-layers": Section(_of("tuning", "top_layers", 4), _TOP, warm=_warm_tuning),
    "top-layers, 10 epochs": Section(_of("tuning", "top_layers", 10), ("holdfast",), 3, warm=_warm_tuning),
    "lora": Section(_of("tuning", "lora", 1), _LORA, warm=_warm_tuning),
    "parts": Section(_of("phases", "sides"), _PARTS, 3, warm=_warm_tuning),
    "memory": Section(_of("tuning", "memory", 0.5), _MEMORY, repetitions=1, alone=True),
    "compiled": Section(_of("tuning", "compiled", 1), _COMPILED, repetitions=1, alone=True, extra=True),
    "decoder": Section(_of("tuning", "decoder"), _TRL, warm=_warm("tuning", "decoder", 16)),
    "fisher": _plain("assessment", "fishers", _FISHER),
    "decomposition": _plain("assessment", "decomposition", _HEADS),
    "classifying": _plain("evaluation", "classifying", _PREDICT),
    "minimal pairs": _plain("evaluation", "minimal_pairs", _LIKELIHOOD),
    "choices": _plain("evaluation", "choices", _LIKELIHOOD),
    "comparison": Section(_of("comparison", "sides"), ("together", "apart"), repetitions=1, warm=_warm_comparison),
    "help": Section(_of("overhead", "help_"), ("holdfast --help",)),
    "adaptation": Section(
        _of("overhead", "adaptation"),
        ("wall minus stages", "nothing to do"),
        3,
        warm=_warm("overhead", "adaptation", 32),
    ),
    "tuning alone": Section(_of("overhead", "memory"), ("tuning alone",), repetitions=1, alone=True),
}
