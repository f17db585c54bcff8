"""A network taken apart at a layer: run up to there, or from there on with states that were computed before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from holdfast import anatomy, forwards

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.models import Model


class _Reached(Exception):
    def __init__(self, states: Tensor) -> None:
        self.states = states


def below(model: Model, cut: int, inputs: dict[str, Tensor]) -> Tensor:
    """Return what enters layer `cut` for padded inputs, [rows, tokens, hidden]; nothing above is computed."""

    def leave(hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        raise _Reached(hidden_states)

    with forwards.instead([(model.network.get_submodule(anatomy.layers(model)[cut]), leave)]):
        try:
            model.network.base_model(**inputs, **({"use_cache": False} if model.generates else {}))
        except _Reached as reached:
            return reached.states
    raise AssertionError("the network never reached the layer")


@contextmanager
def entered(model: Model, cut: int, states: Tensor) -> Iterator[None]:
    """Have the network begin at layer `cut` with `states` [rows, tokens, hidden]: nothing below is computed.

    What the network does around its layers (masks, positions) goes on as before.
    """
    layers = [model.network.get_submodule(name) for name in anatomy.layers(model)[: cut + 1]]
    first = layers[-1].forward

    def given(*args: Any, **kwargs: Any) -> Tensor:
        return states

    def begin(hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        return first(states, *args, **kwargs)

    skipped: list[tuple[Any, Callable[..., Any]]] = [(module, given) for module in (*_embeddings(model), *layers[:-1])]
    with forwards.instead([*skipped, (layers[-1], begin)]):
        yield


def _embeddings(model: Model) -> list[Any]:
    """Return the modules that make states from tokens, those that the network has."""
    found = []
    for stem in anatomy.family(model).embeddings:
        parent = model.network.base_model
        if stem != "wpe." and hasattr(parent, stem.rstrip(".")):  # GPT-2 adds positions to what its words give
            found.append(getattr(parent, stem.rstrip(".")))
    return found
