"""What a module's per-example parameter gradient is, from its inputs and the gradients at its outputs.

What is added up, per parameter of the module, is the sum over the examples of the gradient's square or absolute value;
an example's gradient is first summed over its positions. Known kinds have closed forms; any other module that maps one
tensor to another is differentiated by itself, vectorised over the examples with `torch.func`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass
class Use:
    """One use of a module: its inputs and the gradient at its output, the first dimension of both being examples."""

    module: nn.Module
    inputs: torch.Tensor
    gradient: torch.Tensor


def one_row_per_example(batch: int) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...] | None]:
    """Return a forward pre-hook that repeats ids shared by a batch (position ids of shape [1, T]) for each example."""
    from torch import nn

    def hook(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if isinstance(module, nn.Embedding) and args[0].dim() > 1 and args[0].shape[0] == 1 < batch:
            return (args[0].expand(batch, *args[0].shape[1:]), *args[1:])
        return None

    return hook


def add_power(name: str, uses: list[Use], power: str, into: dict[str, torch.Tensor]) -> None:
    """Add to `into[parameter]` the sum over examples of |its gradient|^p, p = 2 for `square`, 1 for `absolute`.

    Several uses of a module add up within an example before the power is taken.
    """
    from torch import nn

    module = uses[0].module
    if type(module) is nn.Linear:
        _linear(*_positions(uses), power, into)
        return
    uses = [_whole(use, next(iter(into.values())).dtype) for use in uses]
    if type(module) is nn.Embedding:
        _embedding(module, *_positions(uses, ids=True), power, into["weight"])
    elif type(module) is nn.LayerNorm and len(module.normalized_shape) == 1:
        _layer_norm(module, *_positions(uses), power, into)
    else:
        _any_other(name, uses, power, into)


def _whole(use: Use, dtype: torch.dtype) -> Use:
    """Return a use in the precision in which sums are kept."""
    inputs = use.inputs.to(dtype) if use.inputs.is_floating_point() else use.inputs
    return Use(use.module, inputs, use.gradient.to(dtype))


def can_be_tied(module: nn.Module) -> bool:
    """Say whether a module may be an output layer that shares its weight with an embedding: linear, without a bias."""
    from torch import nn

    return type(module) is nn.Linear and module.bias is None


def add_tied(embedding: list[Use], output: list[Use], power: str, into: torch.Tensor) -> None:
    """Add what `add_power` does for a weight [rows, width] that is looked up and multiplied with in one network."""
    ids, looked_up = _positions([_whole(use, into.dtype) for use in embedding], ids=True)
    x, g = _positions([_whole(use, into.dtype) for use in output])
    for example in range(len(ids)):
        whole = g[example].T @ x[example]
        whole.index_add_(0, ids[example], looked_up[example])
        into += _powered(whole, power)


def _positions(uses: list[Use], ids: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs and gradients as [B, T, width] ([B, T] for ids).

    Positions where every gradient is 0 are left out when the last is one of them: above a layer that pools the first
    token, that is all but the first.
    """
    import torch

    batch = len(uses[0].inputs)
    inputs = [u.inputs.reshape(batch, -1) if ids else u.inputs.reshape(batch, -1, u.inputs.shape[-1]) for u in uses]
    gradients = [use.gradient.reshape(batch, -1, use.gradient.shape[-1]) for use in uses]
    x = inputs[0] if len(uses) == 1 else torch.cat(inputs, 1)
    g = gradients[0] if len(uses) == 1 else torch.cat(gradients, 1)
    if bool(g[:, -1].any()):
        return x, g
    alive = (g != 0).any(0).any(-1)
    return x[:, alive], g[:, alive]


def _powered(values: torch.Tensor, power: str) -> torch.Tensor:
    """Return squares or absolute values, in the same memory."""
    return values.square_() if power == "square" else values.abs_()


def _linear(x: torch.Tensor, g: torch.Tensor, power: str, into: dict[str, torch.Tensor]) -> None:
    """An example's gradient of the weight is g^T x, [out, in]: one product per example, in one piece of memory.

    That is faster than one for the whole batch, whose gradients leave the processor's cache before they are added up.
    """
    import torch

    total = into["weight"]
    own = torch.empty(total.shape, dtype=g.dtype, device=g.device)
    for one_x, one_g in zip(x.to(g.dtype), g, strict=True):
        torch.mm(one_g.T, one_x, out=own)
        if power == "square" and own.dtype == total.dtype:
            total.addcmul_(own, own)
        else:
            total += _powered(own, power)
    if "bias" in into:
        into["bias"] += _powered(g.to(into["bias"].dtype).sum(1), power).sum(0)


def _layer_norm(
    module: nn.LayerNorm, x: torch.Tensor, g: torch.Tensor, power: str, into: dict[str, torch.Tensor]
) -> None:
    from torch.nn import functional

    if "weight" in into:
        normed = functional.layer_norm(x, module.normalized_shape, eps=module.eps)
        into["weight"] += _powered((g * normed).sum(1), power).sum(0)
    if "bias" in into:
        into["bias"] += _powered(g.sum(1), power).sum(0)


def _embedding(module: nn.Embedding, ids: torch.Tensor, g: torch.Tensor, power: str, into: torch.Tensor) -> None:
    """An example's gradient of a row is the sum over the positions that hold its id; the padding row has none."""
    import torch

    if module.padding_idx is not None:
        g = g * (ids != module.padding_idx).unsqueeze(-1)
    examples = torch.arange(len(ids), device=ids.device).unsqueeze(1)
    pairs, place = torch.unique((examples * module.num_embeddings + ids).flatten(), return_inverse=True)
    rows = g.new_zeros(len(pairs), g.shape[-1]).index_add_(0, place, g.flatten(0, 1))
    into.index_add_(0, pairs % module.num_embeddings, _powered(rows, power))


def _any_other(name: str, uses: list[Use], power: str, into: dict[str, torch.Tensor]) -> None:
    import torch

    module = uses[0].module
    own = dict(module.named_parameters(recurse=False))

    def pulled_back(x: torch.Tensor, g: torch.Tensor) -> dict[str, torch.Tensor]:
        def run(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
            output: torch.Tensor = torch.func.functional_call(module, parameters, (x.unsqueeze(0),))
            return output

        gradients: dict[str, torch.Tensor] = torch.func.vjp(run, own)[1](g.unsqueeze(0))[0]
        return gradients

    try:
        each = [torch.func.vmap(pulled_back)(use.inputs, use.gradient) for use in uses]
    except RuntimeError as error:
        kind = type(module).__name__
        raise HoldfastError(f"importance: no per-example gradient for `{name}`, a {kind} ({error})") from error
    for leaf, total in into.items():
        total += _powered(torch.stack([found[leaf] for found in each]).sum(0), power).sum(0)
