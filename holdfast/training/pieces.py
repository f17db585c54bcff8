"""Losses of rows whose logits do not all fit at once: each piece's logits are gone before the next one's are made."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

Found = tuple["Tensor", dict[str, "Tensor"]]
Linear = tuple["Tensor", "Tensor | None"]
_STATES, _COLUMNS = 512, 2048  # whose logits a processor's cache holds


def at_once(part: Callable[[Tensor], Found], states: Tensor) -> Found:
    """Return the losses and figures that `part` gives on states [n, width]; losses are [n], figures carry no gradient.

    A row's loss must depend on its own state alone, and on nothing else that moves: then its derivative is worked out
    together with it, and the backward pass has only to weigh it. That spares one of three products with the output
    layer. After Liger's fused linear cross entropy, arXiv 2410.10989.
    """
    import torch

    if not (states.requires_grad and torch.is_grad_enabled()):
        return part(states)
    figures: dict[str, Tensor] = {}
    losses: Tensor = _differentiated().apply(part, figures, states)
    return losses, figures


@cache
def _differentiated() -> Any:
    import torch

    class Differentiated(torch.autograd.Function):
        """`part` with the derivatives of its losses, one row of them for each."""

        @staticmethod
        def forward(ctx: Any, part: Callable[[Tensor], Found], figures: dict[str, Tensor], states: Tensor) -> Tensor:
            with torch.enable_grad():
                leaf = states.detach().requires_grad_()
                losses, found = part(leaf)
            figures |= {name: values.detach() for name, values in found.items()}
            ctx.save_for_backward(*torch.autograd.grad(losses, leaf, torch.ones_like(losses)))
            return losses.detach()

        @staticmethod
        def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:
            (derivatives,) = ctx.saved_tensors
            return None, None, derivatives * weight.unsqueeze(-1).to(derivatives.dtype)

    return Differentiated


def log_probabilities(states: Tensor, labels: Tensor, linear: Linear) -> Tensor:
    """Return the log-probability of each label [n] under a fixed output layer's weight and bias, float32 [n].

    `states` [n, width] alone may carry a gradient. It is worked out together with the log-probability, a part of the
    vocabulary at a time, so that no logits leave the processor's cache, each is made once, and the softmax's sum grows
    from part to part, as in FlashAttention (arXiv 2205.14135).
    """
    found: Tensor = _log_probability().apply(states, labels, *linear)
    return found


@cache
def _log_probability() -> Any:
    import torch

    class LogProbability(torch.autograd.Function):
        """Each label's log-probability with its derivative, one row [width] for each."""

        @staticmethod
        def forward(ctx: Any, states: Tensor, labels: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            parts = zip(states.split(_STATES), labels.split(_STATES), strict=True)
            found = [_derived(some.to(weight.dtype), own, weight, bias) for some, own in parts]
            ctx.save_for_backward(torch.cat([derivatives for _, derivatives in found]).to(states.dtype))
            return torch.cat([values for values, _ in found])

        @staticmethod
        def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:
            (derivatives,) = ctx.saved_tensors
            return derivatives * weight.unsqueeze(-1).to(derivatives.dtype), None, None, None

    return LogProbability


def _derived(states: Tensor, labels: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return log p_y [n] and its derivative by the states, (1 - p_y) w_y - sum over c != y of p_c w_c, [n, width].

    The label is left out of the sums: where the model is sure of it, a small difference of large numbers would be left.
    """
    import torch

    most = torch.full((len(states), 1), -torch.inf)
    others, drawn = torch.zeros(len(states), 1), torch.zeros(len(states), states.shape[1])
    own = torch.empty(len(states), 1)
    for first in range(0, len(weight), _COLUMNS):
        part = weight[first : first + _COLUMNS]
        shift = None if bias is None else bias[first : first + _COLUMNS]
        logits = torch.nn.functional.linear(states, part, shift).float()
        here = ((labels >= first) & (labels < first + len(part))).nonzero()[:, 0]
        own[here, 0] = logits[here, labels[here] - first]
        logits[here, labels[here] - first] = -torch.inf
        before, most = most, torch.maximum(most, logits.amax(1, keepdim=True))
        fades = (before - most).exp_()
        shares = logits.sub_(most).exp_()
        others = others * fades + shares.sum(1, keepdim=True)
        drawn.mul_(fades).add_(shares.to(weight.dtype) @ part)
    top = torch.maximum(most, own)  # of all: a label may lead by more than an exponential can hold
    fades = (most - top).exp_()
    others, drawn = others * fades, drawn.mul_(fades)
    whole = others + (own - top).exp_()
    derivatives = (others / whole) * weight[labels].float() - drawn / whole
    return (own - top - whole.log()).squeeze(1), derivatives
