"""Randomness under control: seeds, deterministic algorithms, and the generators' states as tensors and JSON."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Seed every generator and use deterministic algorithms only; on exit everything is as before.

    Torch would also write NaN into all memory that it hands out, so that nobody reads what nobody wrote; that is left
    out, since it is a twentieth of a tuning.
    """
    import numpy as np
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before, deterministic = capture(), torch.are_deterministic_algorithms_enabled()
    settings = torch.utils.deterministic
    filling = settings.fill_uninitialized_memory
    settings.fill_uninitialized_memory = False
    torch.use_deterministic_algorithms(True)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        restore(*before)
        torch.use_deterministic_algorithms(deterministic)
        settings.fill_uninitialized_memory = filling


def capture() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the states of torch's generators (uint8 tensors), and of python's and numpy's (JSON)."""
    import numpy as np
    import torch

    tensors = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors |= {f"cuda{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    version, numbers, gauss = random.getstate()
    legacy: Any = np.random.get_state()
    kind, keys, *rest = legacy
    return tensors, {"python": [version, list(numbers), gauss], "numpy": [kind, keys.tolist(), *rest]}


def restore(tensors: dict[str, Tensor], states: dict[str, Any]) -> None:
    """Put the generators back into captured states."""
    import numpy as np
    import torch

    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, np.asarray(keys, np.uint32), *rest))
    torch.set_rng_state(tensors["cpu"])
    if torch.cuda.is_available():
        torch.cuda.set_rng_state_all([tensors[f"cuda{i}"] for i in range(torch.cuda.device_count())])
