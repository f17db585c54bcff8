"""The objective at work: its loss on a batch, given beside the logits what it needs (`holdfast.objectives`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from holdfast import choices, inference, models
from holdfast.anchors._divergence import StartLogits
from holdfast.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor, nn

    from holdfast.home import Home
    from holdfast.models import Model
    from holdfast.records import Start
    from holdfast.spec import Recipe, Training
    from holdfast.training.forward import Forward
    from holdfast.training.pool import Pool

Logits = Callable[[str, Sequence[int]], "Tensor"]


class Older:
    """The model as it was at the last refresh: its moving weights, kept as they were then.

    A refresh is due at the first update after the warm-up and every `refresh` updates from there (never, where that is
    None). `taken` is the update before which the weights were kept.
    """

    def __init__(self, moving: dict[str, nn.Parameter], refresh: int | None, warm_up: int) -> None:
        self.moving, self.refresh, self.warm_up = moving, refresh, warm_up
        self.weights: dict[str, Tensor] = {}
        self.taken: int | None = None

    def logits(self, batch: Forward, now: dict[str, Tensor]) -> dict[str, Tensor | None]:
        """Return {head: the older model's logits on its rows of the batch}, where the present model's are `now`.

        They are None while warming up. In an update that begins a cycle the present model is the older one.
        """
        since = batch.step - self.warm_up
        if since < 0:
            return dict.fromkeys(now)
        if since == 0 or (self.refresh and since % self.refresh == 0):
            self._keep(batch.step)
            return {head: logits.detach() for head, logits in now.items()}
        return self._compute(batch)

    def _keep(self, step: int) -> None:
        if self.refresh != 1 and self.taken != step:
            self.weights = {name: p.detach().clone() for name, p in self.moving.items()}
            self.taken = step

    def _compute(self, batch: Forward) -> dict[str, Tensor | None]:
        import torch

        with torch.no_grad(), _in_place(self.moving, self.weights), inference.evaluating(batch.model.network):
            again = batch.again()
            return {head: again.logits(head, rows) for head, rows in again.rows_by_head().items()}


@dataclass
class Objective:
    """A choice of the axis with its options; `teacher` and `older` are there where it needs them."""

    module: ModuleType
    options: Any
    teacher: dict[str, StartLogits]
    older: Older | None

    @property
    def state(self) -> dict[str, Tensor]:
        """What it holds on to from the start."""
        return {head: found.logits for head, found in self.teacher.items()}

    def __call__(self, batch: Forward) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and the figures of every row of the batch, [rows] each, grouped by head."""
        import torch

        now = {head: batch.logits(head, rows) for head, rows in batch.rows_by_head().items()}
        old = self.older.logits(batch, now) if self.older else {}
        losses, figures = [], []
        for head, rows in batch.rows_by_head().items():
            positions = [batch.positions[row] for row in rows]
            labels = torch.tensor([batch.pool.examples[p].label for p in positions], device=now[head].device)
            needs: dict[str, Any] = {"teacher": self.teacher[head].at(positions)} if self.teacher else {}
            needs |= {"old": old[head]} if self.older else {}
            losses.append(self.module.loss(now[head], labels, self.options, **needs))
            if hasattr(self.module, "figures"):
                figures.append(self.module.figures(now[head], labels, self.options, **needs))
        together = {name: torch.cat([found[name] for found in figures]) for name in (figures[0] if figures else {})}
        return torch.cat(losses), together


def make(
    chosen: choices.Choices, moving: dict[str, nn.Parameter], teacher: Callable[[], dict[str, StartLogits]]
) -> Objective:
    """Return the objective before the first update; `teacher()` gives the teacher's logits, where they are needed."""
    ((name, values),) = chosen.items()
    module, options = choices.load("objectives", name), choices.options("objectives", name, values)
    needs = getattr(module, "NEEDS", ())
    older = None
    if "old" in needs:
        older = Older(moving, None if options.refresh == "never" else options.refresh, options.warm_up)
    return Objective(module, options, teacher() if "teacher" in needs else {}, older)


def teach(pool: Pool, recipe: Recipe, logits: Logits) -> dict[str, StartLogits]:
    """Return `logits(head, positions)` on every row that may be drawn for a batch, by head, computed once."""
    replayed = any(getattr(choices.load("examples", name), "USES_REMEMBERED", False) for name in recipe.examples)
    rows = range(len(pool.examples)) if replayed else pool.learn
    return {head: StartLogits(found, logits(head, found)) for head, found in pool.by_head(rows).items()}


def of_another(teacher: Start, home: Home, pool: Pool, training: Training, model: Model) -> Logits:
    """Return the function that gives a teacher's logits on rows of the pool, in the order of `model`'s labels.

    It is in eval mode and reads the texts with its own tokenizer. Raises `BadInput` when it lacks a head or a label.
    """
    import torch

    other = models.load(teacher, home)
    other.network.to(model.network.device)

    def logits(head: str, positions: Sequence[int]) -> Tensor:
        labels = model.heads[head].labels
        known = other.heads[head].labels if head in other.heads else ()
        if set(known) != set(labels):
            raise BadInput(
                f"the teacher {teacher.model} has no head `{head}` with the labels {', '.join(labels)}",
                key="objective",
                expected="a version that was tuned to the same labels under the same head name",
            )
        other.use_head(head)
        found = inference.logits(
            other, pool.texts(positions), max_length=training.max_length, precision=training.precision
        )
        return torch.from_numpy(found[:, [known.index(label) for label in labels]]).to(model.network.device)

    return logits


@contextmanager
def _in_place(parameters: dict[str, nn.Parameter], values: dict[str, Tensor]) -> Iterator[None]:
    """Have the parameters hold other values; their own tensors come back untouched."""
    own = {name: parameter.data for name, parameter in parameters.items()}
    for name, parameter in parameters.items():
        parameter.data = values[name]
    try:
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.data = own[name]
