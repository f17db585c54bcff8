"""A quadratic pull of the moving encoder weights towards their values at the start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from holdfast.anchors._origin import Origin
    from holdfast.training.forward import Forward


class Quadratic:
    """strength / 2 * sum_i c_i (w_i - w0_i)^2 over the moving encoder weights; c_i = 1 where no `curvature` is given.

    Weights that do not move add nothing, and no head is held: new ones must be free, and remembered ones are frozen.
    """

    def __init__(self, origin: Origin, strength: float, curvature: dict[str, Tensor] | None = None) -> None:
        self.strength = strength
        self.weights: dict[str, nn.Parameter] = {
            name: p for name, p in origin.model.encoder_parameters().items() if p.requires_grad
        }
        self.start = {name: p.detach().clone() for name, p in self.weights.items()}
        self.curvature = None if curvature is None else self._matching(curvature)
        self.state = {f"start/{name}": value for name, value in self.start.items()}
        self.state |= {f"curvature/{name}": value for name, value in (self.curvature or {}).items()}

    def _matching(self, curvature: dict[str, Tensor]) -> dict[str, Tensor]:
        missing = sorted(set(self.weights) - set(curvature))
        if missing:
            raise HoldfastError(f"the importance has no values for {missing[0]}, which moves; assess again")
        return {name: curvature[name].to(p.device, p.dtype) for name, p in self.weights.items()}

    def __call__(self, batch: Forward) -> Tensor:
        """Return the penalty at the present weights; the batch does not matter."""
        import torch

        total = torch.zeros((), device=batch.model.network.device)
        for name, parameter in self.weights.items():
            squared = (parameter - self.start[name]).square()
            total = total + (squared if self.curvature is None else squared * self.curvature[name]).sum()
        return 0.5 * self.strength * total
