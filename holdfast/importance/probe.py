"""A linear probe: a new head fitted on the frozen encoder, so that importance and tuning start from a sensible head."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from holdfast import inference
from holdfast import rows as datasets
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from holdfast.models import Model
    from holdfast.prefix.cache import Prefix
    from holdfast.rows import Row

MOST_ROWS = 1000
STRENGTH = 100.0  # C = 0.01: of 1 to 300 the lowest test loss on NusaX English and nearly so on Indonesian, 500 rows
# Just below what MiniLM shows; keeps the head from blowing up differences that are mere rounding.
LEAST_DEVIATION = 0.02
_BATCH = 32


def fit(
    model: Model,
    rows: Sequence[Row],
    labels: tuple[str, ...],
    max_length: int,
    seed: int,
    prefix: Prefix | None = None,
) -> None:
    """Fit the head in place as a multinomial logistic regression on what the frozen encoder gives it; in place.

    Minimised to convergence, in double precision: mean cross-entropy + STRENGTH / (2 n) ||W||^2 on inputs less their
    mean and over their deviation, or over `LEAST_DEVIATION` where that is larger (the bias is free). The scaling is
    folded into the head's last linear layer; layers before it inside the head stay as they are. Of more than
    `MOST_ROWS` rows that many are drawn with `seed`; otherwise there is no randomness. `labels` must be the head's, in
    its order of logits. Layers below the cut of a `prefix` run once for these rows and for whoever reads them later.
    """
    import torch

    chosen = _draw(rows, seed)
    last = _last_linear(model)
    inputs = _inputs(model, last, datasets.texts(chosen), max_length, prefix).double()
    targets = torch.tensor(datasets.label_ids(chosen, labels))
    mean, deviation = inputs.mean(0), inputs.std(0, correction=0).clamp_min(LEAST_DEVIATION)
    weight, bias = _logistic_regression((inputs - mean) / deviation, targets, len(labels))
    weight = weight / deviation
    with torch.no_grad():
        last.weight.copy_(weight)
        last.bias.copy_(bias - weight @ mean)


def _draw(rows: Sequence[Row], seed: int) -> list[Row]:
    if len(rows) <= MOST_ROWS:
        return list(rows)
    picked = sorted(random.Random(seed).sample(range(len(rows)), MOST_ROWS))
    return [rows[i] for i in picked]


def _last_linear(model: Model) -> nn.Linear:
    """Return the linear layer that gives the logits; raise `HoldfastError` for a head that does not end in one."""
    from torch import nn

    for name in reversed(list(model.head_parameters())):
        module = model.network.get_submodule(name.rpartition(".")[0])
        if isinstance(module, nn.Linear) and module.bias is not None and len(module.weight) == len(model.labels):
            return module
    raise HoldfastError(
        f"the head `{model.head}` does not end in a linear layer with a bias, so no probe can be fitted"
    )


def _inputs(model: Model, last: nn.Linear, texts: list[str], max_length: int, prefix: Prefix | None) -> torch.Tensor:
    """Return what goes into `last` for each text, float32 [texts, width]; eval mode, bf16 where the machine has it."""
    import torch

    seen: list[torch.Tensor] = []

    def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
        seen.append(args[0].detach().float().cpu())

    handle = last.register_forward_pre_hook(hook)
    try:
        inference.logits(model, texts, max_length=max_length, batch=_BATCH, prefix=prefix)
    finally:
        handle.remove()
    lengths = [len(e["input_ids"]) for e in inference.encode(model, texts, max_length)]
    order = [i for chosen in inference.batches_by_length(lengths, _BATCH) for i in chosen]
    return torch.cat(seen)[torch.tensor(order).argsort()]


def _logistic_regression(x: torch.Tensor, y: torch.Tensor, labels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight [labels, width] and bias [labels] that minimise mean cross-entropy + STRENGTH / (2 n) ||W||^2."""
    import torch

    weight = torch.zeros(labels, x.shape[1], dtype=x.dtype, requires_grad=True)
    bias = torch.zeros(labels, dtype=x.dtype, requires_grad=True)
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=500, tolerance_grad=1e-9, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def objective() -> torch.Tensor:
        solver.zero_grad()
        penalty = STRENGTH / (2 * len(x)) * weight.square().sum()
        loss = torch.nn.functional.cross_entropy(x @ weight.T + bias, y) + penalty
        loss.backward()
        return loss

    with torch.enable_grad():
        solver.step(objective)
    return weight.detach(), bias.detach()
