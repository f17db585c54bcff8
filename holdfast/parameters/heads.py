"""Attention heads move: given by hand, or the best of them by importance.

    heads: ["0.3", "4.1"]        LAYER.HEAD, quoted
    heads: 8
    heads: {count: 8, by: task, kv: none}

A head is the rows of the query, key and value projections (biases too) and the COLUMNS of the output projection that
belong to it. The output projection's bias is shared by all heads and stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from holdfast import anatomy, choices
from holdfast.errors import BadInput
from holdfast.parameters import _near, _ranking
from holdfast.selection import Selection, union

if TYPE_CHECKING:
    from holdfast.importance.read import Importance
    from holdfast.models import Model

EXAMPLE = {"count": 1}
SHORTHAND = "names"
_KEY = "parameters.heads"
BELOW = "the layers below the lowest head"


class Options(choices.Options):
    """Either `names` (`LAYER.HEAD`) or a `count` of heads ranked `by` importance.

    `kv` says whether key and value rows move: `shared` trains those of the head's group (where several query heads
    share one, as in Llama), `none` trains query rows and output columns only.
    """

    names: tuple[str, ...] = ()
    count: int | None = Field(None, ge=1)
    by: _ranking.By = "task-over-general"
    kv: Literal["shared", "none"] = "shared"

    @model_validator(mode="before")
    @classmethod
    def _number_is_count(cls, values: Any) -> Any:
        names = values.get("names") if isinstance(values, dict) else None
        if isinstance(names, int):
            return {**values, "names": (), "count": names}
        if isinstance(names, list | tuple) and any(not isinstance(name, str) for name in names):
            raise ValueError('heads are quoted "LAYER.HEAD": YAML reads 4.10 as the number 4.1')
        return values

    @model_validator(mode="after")
    def _one_way(self) -> Options:
        if bool(self.names) == (self.count is not None):
            raise ValueError("give either the heads' names or a count")
        return self


def select(model: Model, importance: Importance | None, options: Options) -> Selection:
    """Return the masks of the heads; raise `BadInput` with near misses for a head that is not there."""
    layers = anatomy.attention(model)
    known = [f"{layer}.{head}" for layer, one in enumerate(layers) for head in range(one.heads)]
    names, notes = [_checked(name, known) for name in options.names], []
    if options.count is not None:
        names = _ranking.best(importance, "head", known, options.count, options.by, f"{_KEY}.count")
        notes = [_ranking.note(importance, "heads", options.by)]
    chosen = Selection(parts=tuple(f"head {name}" for name in names), notes=tuple(notes))
    for name in names:
        layer, head = (int(number) for number in name.split("."))
        chosen = union(chosen, Selection(partial=anatomy.head_masks(model, layers[layer], head, options.kv)))
    return chosen


def _checked(name: str, known: list[str]) -> str:
    if name not in known:
        expected = f"LAYER.HEAD from {known[0]} to {known[-1]}"
        raise BadInput(f"the model has no head `{name}`", key=_KEY, expected=expected, remedy=_near.misses(name, known))
    return name
