"""Proximal SFT: the likelihood ratio to an older self is raised, but only up to a bound per refresh.

In the Q-target family its residual is the model itself, and not the older one as the table in arXiv 2606.11189 has it:
by that paper's own rule, Q = p - gradient, the older model enters through the ratio alone. That the warm-up runs
without dropout too is inferred.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from holdfast import choices
from holdfast.objectives import _qtarget

if TYPE_CHECKING:
    from torch import Tensor

SHORTHAND = "refresh"
NEEDS = ("old",)
ROW = _qtarget.Row(
    loss="-min(r, 1 + eps), r = p_y / old p_y",
    reliance="r where r <= 1 + eps, else 0 (may exceed 1)",
    residual="the model",
    source="PSFT, arXiv 2508.17784",
    inferred="that the warm-up runs without dropout too",
    trap="refreshed at every update it is `sft` (to the bit; where logits are made in pieces, to rounding); the "
    "bound gates rows, shared weights can carry one past it",
)


class Options(choices.Options):
    """The old model is the one of `refresh` updates ago at most, or with `never` that of the first PSFT update.

    `clip` is eps. The first `warm_up` updates are plain SFT. An update is a step of the optimiser.
    """

    refresh: int | Literal["never"] = 8
    clip: float = Field(0.28, gt=0)
    warm_up: int = Field(0, ge=0)

    @field_validator("refresh", mode="before")
    @classmethod
    def _updates(cls, value: Any) -> Any:
        if value != "never" and (type(value) is not int or value < 1):
            raise ValueError("give a number of updates, at least 1, or never")
        return value


def loss(logits: Tensor, labels: Tensor, options: Options, *, old: Tensor | None) -> Tensor:
    """Return -min(r, 1 + clip) per row, or -log p_y while warming up: [rows, labels] -> [rows].

    A demonstration has the advantage 1, with which PPO's lower clip has no effect: there is none.
    """

    def part(logits: Tensor, labels: Tensor, other: Tensor | None) -> Tensor:
        log_y = _qtarget.at(_qtarget.log_softmax(logits), labels)
        if other is None:
            return -log_y
        return -_ratio(log_y, _qtarget.at(_qtarget.log_softmax(other), labels)).clamp(max=1 + options.clip)

    return _qtarget.in_parts(part, logits, labels, old)


def figures(logits: Tensor, labels: Tensor, options: Options, *, old: Tensor | None) -> dict[str, Tensor]:
    """Return per row: `nll`, `entropy`, the `ratio` r, whether it is `clipped`, and `kl_to_old`, KL(old, model)."""
    import torch

    def part(logits: Tensor, labels: Tensor, other: Tensor | None) -> Tensor:
        now = _qtarget.log_softmax(logits)
        then = now if other is None else _qtarget.log_softmax(other)
        log_y, entropy = _qtarget.at(now, labels), -(now.exp() * now).sum(-1)
        ratio, divergence = _ratio(log_y, _qtarget.at(then, labels)), (then.exp() * (then - now)).sum(-1)
        return torch.stack([-log_y, entropy, ratio, (ratio > 1 + options.clip).float(), divergence], dim=-1)

    found = _qtarget.in_parts(part, logits.detach(), labels, old)
    return dict(zip(("nll", "entropy", "ratio", "clipped", "kl_to_old"), found.unbind(-1), strict=True))


def _ratio(log_y: Tensor, log_old: Tensor) -> Tensor:
    """Return p_y / old p_y of log-probabilities, kept finite."""
    return (log_y - log_old).clamp(-20, 20).exp()
