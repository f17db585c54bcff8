"""The importances that `assess` left behind, read back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    import torch

    from holdfast.home import Home
    from holdfast.records import Assessed

Kind = Literal["task", "general"]
Levels = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Importance:
    """How much each part of the encoder matters, as the mean over its weights.

    `task` and `general` are `{"tensor": {full name: x}, "head": {"LAYER.HEAD": x}, "layer": {part: x}}`, where a part
    is a layer's number, `embeddings`, `pooler` or `rest`; `general` is None where nothing is remembered. `circuit` is
    what `circuits.find` found, where it was asked for.
    """

    measure: str
    examples: int
    task: Levels
    general: Levels | None
    folder: Path | None = None
    circuit: dict[str, Any] | None = None

    def elementwise(self, kind: Kind) -> dict[str, torch.Tensor]:
        """Return one float32 number per encoder weight, by full parameter names.

        Raises `HoldfastError` when the assessment did not keep them, or there is no general importance.
        """
        from safetensors.torch import load_file

        path = self.folder / f"{kind}.safetensors" if self.folder else None
        if path is None or not path.is_file():
            raise HoldfastError(f"the assessment kept no {kind} importance per weight")
        weights: dict[str, torch.Tensor] = load_file(path)
        return weights


def load(home: Home, assessed: Assessed) -> Importance:
    """Return the importances of an assessment after verifying their digest; raise `Corrupt` when bytes changed."""
    folder = home.store.open(assessed.artifact)
    found: dict[str, Any] = json.loads((folder / "importance.json").read_text(encoding="utf-8"))
    circuit = None
    if assessed.circuit is not None:
        circuit = json.loads((home.store.open(assessed.circuit) / "circuit.json").read_text(encoding="utf-8"))
    return Importance(found["measure"], found["examples"], found["task"], found["general"], folder, circuit)
