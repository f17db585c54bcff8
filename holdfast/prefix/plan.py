"""Whether to keep what the frozen layers give: decided before a tuning from counts alone, so that a resume agrees.

What it costs is one pass of every row through the layers below the cut, and room on disk; what it saves is such a pass
in every epoch. It pays from the second epoch on. Room is asked for where the home is: with too little free, nothing is
kept, and the layers run as ever.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from holdfast import anatomy, inference
from holdfast.errors import BadInput
from holdfast.prefix import cut as cuts

if TYPE_CHECKING:
    from holdfast.home import Home
    from holdfast.models import Model
    from holdfast.spec import Training

LEAST_EPOCHS = 2
MOST = 16 << 30  # bytes of all datasets' states below a home
SPARE = 1 << 30  # bytes of the disk that stay free
_KEY = "training.prefix_cache"


@dataclass(frozen=True)
class Plan:
    """`cut` is the first layer that runs at every step, of `layers`; `used` says whether what lies below is kept.

    `why` is the reason; `tokens` of all rows take `bytes` on disk; `saved` is the share of the forward passes of the
    tuning that are not run, 0 where nothing is kept.
    """

    used: bool
    why: str
    cut: int
    layers: int
    tokens: int
    bytes: int
    saved: float

    def document(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return asdict(self)


def make(model: Model, moving: Iterable[str], lengths: Sequence[int], training: Training, home: Home) -> Plan:
    """Return the plan for rows of these lengths in tokens, of which every epoch sees each about once.

    Raises `BadInput` where the file asks for the cache and it cannot be had.
    """
    names, tokens = list(moving), sum(lengths)
    cut, layers = cuts.of(model, names), len(anatomy.layers(model)) if anatomy.known(model) else 0
    needed = tokens * width(model) * (2 if computes_bf16(training.precision) else 4)
    why = _against(model, names, cut, needed, training, home)
    used = why is None
    if why is not None and training.prefix_cache == "on":
        raise BadInput(f"what the frozen layers give cannot be kept: {why}", key=_KEY, remedy="Say auto or off.")
    saved = cut / layers * (1 - 1 / training.epochs) if used else 0.0
    epochs = f"{training.epochs:g} epochs"
    said = why or (
        f"the {cut} lowest of {layers} layers are frozen and run once for {tokens} tokens "
        f"({needed / 1e6:.1f} MB on disk): {100 * saved:.0f}% of the forward passes of {epochs} is saved"
    )
    return Plan(used, said, cut, layers, tokens, needed if used else 0, round(saved, 4))


def _against(model: Model, names: list[str], cut: int, needed: int, training: Training, home: Home) -> str | None:
    """Return why nothing is kept, None where it pays and there is room."""
    if training.prefix_cache == "off":
        return "it is off"
    if not anatomy.known(model):
        return f"where the layers of `{model.network.config.model_type}` are is not known"
    if cut == 0:
        return f"no layer lies below `{cuts.lowest(model, names)}`, which moves"
    if training.epochs < LEAST_EPOCHS and training.prefix_cache == "auto":
        return f"with {training.epochs:g} epochs it would not pay, from {LEAST_EPOCHS} on it does"
    free = shutil.disk_usage(home.path).free
    if needed > MOST or needed + SPARE > free:
        return f"it needs {needed / 1e9:.1f} GB, and {max(0, min(MOST, free - SPARE)) / 1e9:.1f} GB may be taken"
    return None


def width(model: Model) -> int:
    """Return how many numbers a token's state has."""
    return int(model.network.config.hidden_size)


def computes_bf16(precision: str) -> bool:
    """Say whether `precision` comes to bf16 on this machine."""
    return precision == "bf16" or (precision == "auto" and inference.has_bf16())
