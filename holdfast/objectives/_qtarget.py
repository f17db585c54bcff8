"""Objectives as cross entropy to a target (arXiv 2606.11189): Q = reliance * onehot(label) + (1 - reliance) * residual.

Cross entropy to a constant Q has the logit gradient p - Q, so a loss with logit gradient g has the target Q = p - g. A
choice of the family says what reliance and residual are (`Target`), from what it sees of a row (`Seen`), in which
nothing carries a gradient. The numbers minimised have each method's gradient; they are its loss up to a constant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

CELLS = 2**22
"""How many logits are worked on at once (16 MiB in float32)."""

Part = Callable[["Tensor", "Tensor", "Tensor | None"], "Tensor"]


@dataclass(frozen=True)
class Row:
    """A choice's line in the table of objectives; `inferred` says what its source leaves open, and what was taken."""

    loss: str
    reliance: str
    residual: str
    source: str
    inferred: str = ""
    trap: str = ""


@dataclass(frozen=True)
class Seen:
    """What a target may depend on: the model's log-probabilities [n, labels], the labels [n], and another model's."""

    log_p: Tensor
    labels: Tensor
    other: Tensor | None

    @property
    def of_label(self) -> Tensor:
        """The model's log-probability of each row's label, [n]."""
        return at(self.log_p, self.labels)

    @staticmethod
    def only(of_label: Tensor) -> Seen:
        """What is seen of rows of which the label's log-probability is known and nothing else, [n]."""
        return Seen(of_label.unsqueeze(-1), of_label.new_zeros(len(of_label), dtype=int), None)

    @property
    def teacher(self) -> Tensor:
        """The other model's log-probabilities, [n, labels]."""
        assert self.other is not None
        return self.other


@dataclass(frozen=True)
class Target:
    """scale * Q: `reliance` ([n] or one number) on the label, `residual` [n, labels] with 1 - reliance or `weight`.

    A residual of None is the model's own distribution, which adds no gradient.
    """

    reliance: Tensor | float
    residual: Tensor | None = None
    weight: Tensor | float | None = None
    scale: Tensor | float = 1.0


def at(log_p: Tensor, labels: Tensor) -> Tensor:
    """Return each row's entry at its label: [n, labels], [n] -> [n]."""
    return log_p.gather(-1, labels.unsqueeze(-1)).squeeze(-1)


def log_softmax(logits: Tensor) -> Tensor:
    """Return log-probabilities, at least in float32."""
    import torch

    return torch.log_softmax(logits, dim=-1, dtype=torch.promote_types(logits.dtype, torch.float32))


def loss(
    target: Callable[[Seen, Any], Target], logits: Tensor, labels: Tensor, options: Any, teacher: Tensor | None = None
) -> Tensor:
    """Return scale * (reliance * CE(label) + weight * CE(residual)) per row; the target itself carries no gradient."""

    def part(logits: Tensor, labels: Tensor, other: Tensor | None) -> Tensor:
        log_p = log_softmax(logits)
        seen = Seen(log_p.detach(), labels, None if other is None else log_softmax(other))
        wanted = target(seen, options)
        total = -wanted.reliance * at(log_p, labels)
        if wanted.residual is not None:
            weight = 1 - wanted.reliance if wanted.weight is None else wanted.weight
            total = total - weight * (wanted.residual * log_p).sum(-1)
        return wanted.scale * total

    return in_parts(part, logits, labels, teacher)


def figures(
    target: Callable[[Seen, Any], Target], logits: Tensor, labels: Tensor, options: Any, teacher: Tensor | None = None
) -> dict[str, Tensor]:
    """Return `nll`, the plain cross entropy, and the `reliance` per row."""
    import torch

    def part(logits: Tensor, labels: Tensor, other: Tensor | None) -> Tensor:
        seen = Seen(log_softmax(logits), labels, None if other is None else log_softmax(other))
        reliance = torch.zeros_like(seen.of_label) + target(seen, options).reliance
        return torch.stack([-seen.of_label, reliance], dim=-1)

    nll, reliance = in_parts(part, logits.detach(), labels, teacher).unbind(-1)
    return {"nll": nll, "reliance": reliance}


def loss_of_label(target: Callable[[Seen, Any], Target], of_label: Tensor, options: Any) -> Tensor:
    """Return `loss`, [n], of a target that depends on nothing but the label's log-probability, from that, [n]."""
    wanted = target(Seen.only(of_label.detach()), options)
    return wanted.scale * -wanted.reliance * of_label


def figures_of_label(target: Callable[[Seen, Any], Target], of_label: Tensor, options: Any) -> dict[str, Tensor]:
    """Return `figures` of such a target."""
    import torch

    known = of_label.detach()
    return {"nll": -known, "reliance": torch.zeros_like(known) + target(Seen.only(known), options).reliance}


def in_parts(part: Part, logits: Tensor, labels: Tensor, other: Tensor | None) -> Tensor:
    """Return `part(logits, labels, other)` per row, worked out a few rows at a time, forwards and backwards.

    Where there are several, nothing of the logits' size is ever held beside them and their gradient: the backward pass
    computes each part anew.
    """
    rows, fixed = max(1, CELLS // logits.shape[-1]), None if other is None else other.detach()
    if len(logits) <= rows:
        return part(logits, labels, fixed)
    found: Tensor = _in_parts().apply(part, rows, logits, labels, fixed)
    return found


@cache
def _in_parts() -> Any:
    import torch

    class InParts(torch.autograd.Function):
        """`part` over slices of `rows` rows."""

        @staticmethod
        def forward(ctx: Any, part: Part, rows: int, logits: Tensor, labels: Tensor, other: Tensor | None) -> Tensor:
            ctx.part, ctx.rows = part, rows
            ctx.save_for_backward(logits, labels, other)
            return torch.cat([part(*taken) for taken in _slices(rows, logits, labels, other)])

        @staticmethod
        def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:
            logits, labels, other = ctx.saved_tensors
            gradient = torch.empty_like(logits)
            slices = _slices(ctx.rows, logits, labels, other)
            places = zip(gradient.split(ctx.rows), weight.split(ctx.rows), slices, strict=True)
            for into, weights, (some, theirs, others) in places:
                with torch.enable_grad():
                    leaf = some.detach().requires_grad_()
                    losses = ctx.part(leaf, theirs, others)
                into.copy_(torch.autograd.grad(losses, leaf, weights)[0])
            return None, None, gradient, None, None

    return InParts


def _slices(rows: int, logits: Tensor, labels: Tensor, other: Tensor | None) -> list[tuple[Tensor, Tensor, Any]]:
    """Return the three in slices of `rows` rows; they are views."""
    some, theirs = logits.split(rows), labels.split(rows)
    others = [None] * len(some) if other is None else other.split(rows)
    return list(zip(some, theirs, others, strict=True))
