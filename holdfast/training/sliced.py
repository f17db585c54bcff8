"""Linear maps of which whole rows or columns move, as those of attention heads: no more of a gradient is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from holdfast import forwards

if TYPE_CHECKING:
    from torch import Tensor, nn

    from holdfast.training.slices import Places, Slices


@contextmanager
def only_moving(network: nn.Module, slices: Slices) -> Iterator[None]:
    """Have backward passes give the moving rows or columns of linear weights their gradient, and the others none."""
    import torch

    made = []
    for name, (vector, places) in slices.parts.items():
        module = network.get_submodule(name.rpartition(".")[0])
        linear = type(module) is torch.nn.Linear and "forward" not in vars(module)
        if linear and name.endswith(".weight") and places.dim is not None:
            made.append((module, _forward(module, vector, places)))
    with forwards.instead(made):
        yield


def _forward(module: nn.Linear, vector: nn.Parameter, places: Places) -> Callable[[Tensor], Tensor]:
    import torch

    def forward(values: Tensor) -> Tensor:
        weight, bias = module.weight, module.bias
        if not weight.requires_grad:  # it waits, or an older model's stands in its place
            return torch.nn.functional.linear(values, weight, bias)
        found: Tensor = _sliced().apply(values, weight.detach(), bias, vector, places.index, places.dim == 0)
        return found

    return forward


@cache
def _sliced() -> Any:
    import torch

    class Sliced(torch.autograd.Function):
        """A linear map; `vector` is where the gradient of the moving entries of its weight goes, in their order."""

        @staticmethod
        def forward(
            ctx: Any,
            values: Tensor,
            weight: Tensor,
            bias: Tensor | None,
            vector: Tensor,
            index: Tensor,
            rows: bool,
        ) -> Tensor:
            kind = values.device.type
            dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
            given, weight = values.to(dtype), weight.to(dtype)
            ctx.save_for_backward(given, weight, index)
            ctx.rows, ctx.dtype = rows, values.dtype
            return torch.nn.functional.linear(given, weight, None if bias is None else bias.to(dtype))

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
            given, weight, index = ctx.saved_tensors
            needed = ctx.needs_input_grad
            own, flat = gradient.flatten(0, -2), given.flatten(0, -2)
            moving = own.index_select(1, index).T @ flat if ctx.rows else own.T @ flat.index_select(1, index)
            return (
                (gradient @ weight).to(ctx.dtype) if needed[0] else None,
                None,
                own.sum(0).float() if needed[2] else None,
                moving.float().flatten() if needed[3] else None,
                None,
                None,
            )

    return Sliced
