"""The rank of a low-rank addition that a budget of weights pays for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from holdfast import anatomy, selection
from holdfast.errors import BadInput
from holdfast.tuners import kinds

if TYPE_CHECKING:
    from holdfast.models import Model


def rank(model: Model, modules: Sequence[str], added: dict[str, Any], budget: int, key: str) -> tuple[int, str]:
    """Return the largest rank at `modules` whose weights are at most `budget`, else 1, and a note that tells its size.

    `added` are the arguments of the PEFT configuration but for the rank. Raises `BadInput` at `key` where no matrix
    has as high a rank: what the budget still pays for could not be used.
    """
    one, two = (_weights(model, modules, {**added, "r": r}) for r in (1, 2))
    found = max(1, 1 + (budget - one) // (two - one))
    most = max(min(anatomy.linear_sizes(model.encoder.get_submodule(name))) for name in modules)
    everything = selection.total(model)
    if found > most:
        spent = _weights(model, modules, {**added, "r": most})
        raise BadInput(
            f"{budget} weights pay for rank {found}, and the adapted matrices have rank {most} at most",
            key=key,
            expected=f"at most {spent} weights, a share of {spent / everything:.4g}",
            remedy="Adapt more matrices: name more `targets` or `layers`.",
        )
    spent = _weights(model, modules, {**added, "r": found})
    within = f"at most {budget} were asked for" if spent <= budget else f"more than the {budget} asked for: rank 1"
    return found, f"rank {found}: {spent} of {everything} weights ({spent / everything:.3%}), {within}"


def _weights(model: Model, modules: Sequence[str], added: dict[str, Any]) -> int:
    return sum(kinds.weights(name, model.encoder.get_submodule(name), added) for name in modules)
