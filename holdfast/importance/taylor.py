"""First-order Taylor importance: mean over examples of |w * d log p(y|x) / d w|, y being the dataset's label.

The absolute value is taken of each example's own product, before the mean, as in Michel et al. 2019 (arXiv 1905.10650,
E_x |.|, there for heads' outputs): the mean of signed products is near zero at an optimum. Elementwise in the weights
as in Molchanov et al. 2019 (arXiv 1906.10771), who square instead. The combination is inferred.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from holdfast.importance import fisher, gradients

if TYPE_CHECKING:
    import torch

    from holdfast.models import Model


def taylor(
    model: Model,
    texts: Sequence[str],
    targets: Sequence[int],
    max_length: int,
    seed: int,
    precision: str = "fp32",
) -> dict[str, torch.Tensor]:
    """Return the Taylor importance of every parameter of the network, by name; `targets` index the head's labels."""
    found = gradients.mean_power(model, texts, fisher.towards(targets), "absolute", max_length, precision)
    weights = dict(model.network.named_parameters())
    return {name: value * weights[name].detach().abs().cpu() for name, value in found.items()}
