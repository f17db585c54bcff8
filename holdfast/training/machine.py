"""What a tuning's bytes depend on beside its inputs: threads, instruction set, device; a resume must find the same."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from holdfast import inference
from holdfast.errors import HoldfastError
from holdfast.training import processes


def describe(precision: str) -> dict[str, Any]:
    """Return what this process computes with; `bf16` says whether `precision` comes to bf16 here."""
    import torch

    return {
        "threads": torch.get_num_threads(),
        "processes": processes.count(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "onednn": os.environ.get("ONEDNN_MAX_CPU_ISA", ""),
        "bf16": precision == "bf16" or (precision == "auto" and inference.has_bf16()),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def refuse_other(made: dict[str, Any], here: dict[str, Any], checkpoint: Path) -> None:
    """Raise `HoldfastError` naming every difference when a checkpoint was made with other settings than these."""
    different = [name for name, value in here.items() if made.get(name) != value]
    if not different:
        return
    told = ", ".join(f"{name} {made.get(name)!r} (here {here[name]!r})" for name in different)
    threads = f"set OMP_NUM_THREADS={made.get('threads')} to continue it, or " if "threads" in different else ""
    raise HoldfastError(
        f"{checkpoint} was made with {told}: continuing it here would not give the same result. "
        f"To go on, {threads}remove {checkpoint.parent} to start over"
    )
