"""The objective at work: its loss on a batch, given beside the logits what it needs (`holdfast.objectives`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from holdfast import choices, inference, models
from holdfast.anchors._answers import Another, Answers, Frozen, Known
from holdfast.anchors._divergence import StartLogits
from holdfast.errors import BadInput
from holdfast.training import pieces

if TYPE_CHECKING:
    from torch import Tensor, nn

    from holdfast.home import Home
    from holdfast.models import Model
    from holdfast.records import Start
    from holdfast.spec import Recipe, Training
    from holdfast.training.forward import Forward
    from holdfast.training.pool import Pool

Logits = Callable[[str, Sequence[int]], "Tensor"]
Old = Callable[[str, Sequence[int], "Tensor"], "Tensor | None"]


class Older:
    """The model as it was at the last refresh: its moving weights, kept as they were then.

    A refresh is due at the first update after the warm-up and every `refresh` updates from there (never, where that is
    None). `taken` is the update before which the weights were kept.
    """

    def __init__(self, moving: dict[str, nn.Parameter], refresh: int | None, warm_up: int) -> None:
        self.moving, self.refresh, self.warm_up = moving, refresh, warm_up
        self.weights: dict[str, Tensor] = {}
        self.taken: int | None = None

    def on(self, batch: Forward) -> Old:
        """Return the function from a head, rows of the batch and the present logits there to the older model's.

        It gives None while warming up. In an update that begins a cycle the present model is the older one.
        """
        since = batch.step - self.warm_up
        if since < 0:
            return lambda head, rows, now: None
        if since == 0 or (self.refresh and since % self.refresh == 0):
            self._keep(batch.step)
            return lambda head, rows, now: now.detach()
        frozen = Frozen(self.moving, self.weights)
        return lambda head, rows, now: frozen.at(batch, head, rows)

    def _keep(self, step: int) -> None:
        if self.refresh != 1 and self.taken != step:
            self.weights = {name: p.detach().clone() for name, p in self.moving.items()}
            self.taken = step


@dataclass
class Objective:
    """A choice of the axis with its options; `teacher` and `older` are there where it needs them."""

    module: ModuleType
    options: Any
    teacher: Answers | None
    older: Older | None

    @property
    def state(self) -> dict[str, Tensor]:
        """What it holds on to from the start."""
        return self.teacher.state if self.teacher else {}

    def __call__(self, batch: Forward) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and the figures of every row of the batch, [rows] each, grouped by head.

        Where there are too many logits to keep, they are made piece by piece (`holdfast.training.pieces`).
        """
        import torch

        old = self.older.on(batch) if self.older else None
        heads = batch.rows_by_head()
        parts = [(head, part) for head, rows in heads.items() for part in batch.parts(rows)]
        if len(parts) == len(heads):
            found = [self._part(batch, old, *one) for one in parts]
        elif hasattr(self.module, "loss_of_label") and (linear := batch.fixed_linear):
            found = [self._of_labels(batch, linear, *one) for one in heads.items()]
        else:
            found = [self._piece(batch, old, *one) for one in parts]
        figures = [figures for _, figures in found]
        together = {name: torch.cat([own[name] for own in figures]) for name in figures[0]}
        return torch.cat([losses for losses, _ in found]), together

    def _part(self, batch: Forward, old: Old | None, head: str, rows: Sequence[int]) -> pieces.Found:
        return self._from(batch.logits(head, rows), batch, old, head, rows)

    def _of_labels(self, batch: Forward, linear: pieces.Linear, head: str, rows: Sequence[int]) -> pieces.Found:
        reading = batch.reading(rows)
        assert reading is not None
        of_label = pieces.log_probabilities(reading[0], batch.labels(head, rows), linear)
        losses = self.module.loss_of_label(of_label, self.options)
        if not hasattr(self.module, "figures_of_label"):
            return losses, {}
        return losses, self.module.figures_of_label(of_label, self.options)

    def _piece(self, batch: Forward, old: Old | None, head: str, rows: Sequence[int]) -> pieces.Found:
        from torch.utils.checkpoint import checkpoint

        reading = batch.reading(rows)
        if reading is None:
            found: pieces.Found = checkpoint(self._part, batch, old, head, rows, use_reentrant=False)
            return found
        states, read = reading
        return pieces.at_once(lambda some: self._from(read(some), batch, old, head, rows), states)

    def _from(self, now: Tensor, batch: Forward, old: Old | None, head: str, rows: Sequence[int]) -> pieces.Found:
        labels = batch.labels(head, rows)
        needs: dict[str, Any] = {"teacher": self.teacher.at(batch, head, rows)} if self.teacher else {}
        needs |= {"old": old(head, rows, now)} if old else {}
        losses = self.module.loss(now, labels, self.options, **needs)
        if not hasattr(self.module, "figures"):
            return losses, {}
        return losses, self.module.figures(now, labels, self.options, **needs)


def make(chosen: choices.Choices, moving: dict[str, nn.Parameter], teacher: Callable[[], Answers]) -> Objective:
    """Return the objective before the first update; `teacher()` gives the teacher's logits, where they are needed."""
    ((name, values),) = chosen.items()
    module, options = choices.load("objectives", name), choices.options("objectives", name, values)
    needs = getattr(module, "NEEDS", ())
    older = None
    if "old" in needs:
        older = Older(moving, None if options.refresh == "never" else options.refresh, options.warm_up)
    return Objective(module, options, teacher() if "teacher" in needs else None, older)


def teach(pool: Pool, recipe: Recipe, logits: Logits) -> Answers:
    """Return `logits(head, positions)` on every row that may be drawn for a batch, by head, computed once."""
    replayed = any(getattr(choices.load("examples", name), "USES_REMEMBERED", False) for name in recipe.examples)
    rows = range(len(pool.examples)) if replayed else pool.learn
    return Known({head: StartLogits(found, logits(head, found)) for head, found in pool.by_head(rows).items()})


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


def of_another_decoder(teacher: Start, home: Home, model: Model) -> Answers:
    """Return a frozen decoder's logits on the tokens of batches; raise `BadInput` where it has another tokenizer."""
    other = models.load(teacher, home)
    own, its = (one.tokenizer.backend_tokenizer.to_str() for one in (model, other))
    if own != its or model.network.config.vocab_size != other.network.config.vocab_size:
        what = f"the teacher {teacher.model} splits texts into other tokens than the start model"
        raise BadInput(what, key="objective", expected="a decoder with the same tokenizer")
    other.network.to(model.network.device)
    return Another(other)
