"""The loss curve: every update's loss, penalties, learning rate and gradient norm, every epoch's validation."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.home import Home
    from holdfast.records import Artifact


@dataclass
class Curve:
    """`steps`: {step, epoch, loss, objective, its figures, an entry per anchor, learning_rate, grad_norm} per update.

    `valid`: {step, epoch, loss, accuracy} per epoch. `best_step` is the update whose weights were used, where that is
    not the last, `share` how far of the way from the start they lie, where a schedule draws them back. `targets` says
    where the answers come from, where they are the model's own, `prefix` whether what the frozen layers give was kept
    and why (`holdfast.prefix.plan`). `tokens` of rows went through training, and beside them so much `padding`.
    """

    steps: list[dict[str, float]] = field(default_factory=list)
    valid: list[dict[str, float]] = field(default_factory=list)
    best_step: int | None = None
    targets: dict[str, Any] | None = None
    prefix: dict[str, Any] | None = None
    tokens: int = 0
    padding: int = 0
    share: float | None = None

    def final_loss(self, count: int) -> float:
        """Return the mean loss over the last `count` updates (those of one epoch)."""
        last = [entry["loss"] for entry in self.steps[-count:]]
        return sum(last) / len(last)

    def document(self) -> dict[str, Any]:
        """Return the curve as JSON-able values."""
        return asdict(self)


def put(curve: Curve, home: Home) -> Artifact:
    """Put `curve.json` and `curve.png` into the store."""
    with home.store.scratch() as scratch:
        folder = scratch / "curve"
        folder.mkdir()
        (folder / "curve.json").write_text(json.dumps(curve.document(), indent=1, sort_keys=True), encoding="utf-8")
        _draw(curve, folder / "curve.png")
        return home.store.put(folder, "curve")


def _draw(curve: Curve, path: Path) -> None:
    """Plot training and validation loss over updates; the same curve gives the same bytes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([e["step"] for e in curve.steps], [e["loss"] for e in curve.steps], linewidth=0.8, label="training")
    if curve.valid:
        axes.plot([e["step"] for e in curve.valid], [e["loss"] for e in curve.valid], marker="o", label="validation")
    if curve.best_step is not None:
        axes.axvline(curve.best_step, linestyle=":", color="grey", label="weights used")
    axes.set_xlabel("update")
    axes.set_ylabel("loss")
    axes.legend()
    figure.savefig(path, dpi=120, metadata={"Software": None})
