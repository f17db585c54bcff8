"""Whole layers move: named by number, word or pattern, or the best of them by importance.

layers: [0, -1, embeddings, pooler, "*.attention.*"]
layers: {count: 2, by: task-over-general}
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator, model_validator

from holdfast import anatomy, choices
from holdfast.errors import BadInput
from holdfast.parameters import _near, _ranking
from holdfast.selection import Selection

if TYPE_CHECKING:
    from holdfast.importance.read import Importance
    from holdfast.models import Model

EXAMPLE = {"count": 1}
SHORTHAND = "names"
_KEY = "parameters.layers"
BELOW = "the layers below the lowest chosen one"


class Options(choices.Options):
    """Either `names` (numbers, negative ones from the top; `embeddings`; `pooler`; patterns of tensor names with `*`)
    or a `count` of layers, ranked `by` importance (embeddings and pooler are not candidates).
    """

    names: tuple[int | str, ...] = ()
    count: int | None = Field(None, ge=1)
    by: _ranking.By = "task-over-general"

    @field_validator("names", mode="before")
    @classmethod
    def _as_list(cls, names: Any) -> Any:
        return [names] if isinstance(names, int | str) else names

    @model_validator(mode="after")
    def _one_way(self) -> Options:
        if bool(self.names) == (self.count is not None):
            raise ValueError("give either the layers' names or a count")
        return self


def select(model: Model, importance: Importance | None, options: Options) -> Selection:
    """Return a selection of whole layers.

    Raises `BadInput` with near misses for a name that matches nothing, and for one pattern that matches everything.
    """
    names, notes = list(options.names), []
    if options.count is not None:
        known = [str(number) for number in range(len(anatomy.layers(model)))]
        best = _ranking.best(importance, "layer", known, options.count, options.by, f"{_KEY}.count")
        names, notes = [int(name) for name in best], [_ranking.note(importance, "layers", options.by)]
    found = [_tensors(model, name) for name in names]
    parts = tuple(f"layer {name}" if isinstance(name, int) else name for name in names)
    return Selection(frozenset(tensor for tensors in found for tensor in tensors), parts=parts, notes=tuple(notes))


def _tensors(model: Model, name: int | str) -> list[str]:
    """Return the tensors that one name of a layer, a word or a pattern stands for."""
    if isinstance(name, str) and "*" in name:
        return _matching(model, name)
    known = _parts(model)
    depth = len(anatomy.layers(model))
    if isinstance(name, int) or name.lstrip("-").isdigit():
        name = int(name)
        if not -depth <= name < depth:
            expected = f"0 to {depth - 1}, or -{depth} to -1 from the top"
            nearest = f"Nearest: `{0 if name < 0 else depth - 1}`."
            raise BadInput(f"the model has no layer {name}", key=_KEY, expected=expected, remedy=nearest)
        return known[str(name % depth)]
    if name not in known:
        expected = f"0 to {depth - 1}, {', '.join(p for p in known if not p.isdigit())}, or a pattern with *"
        near = _near.misses(name, [*known, *model.encoder_parameters()])
        raise BadInput(f"the model has no layer `{name}`", key=_KEY, expected=expected, remedy=near)
    return known[name]


def _parts(model: Model) -> dict[str, list[str]]:
    """Return {a layer's number, `embeddings` or `pooler`: its tensors}."""
    parts: dict[str, list[str]] = {str(number): [] for number in range(len(anatomy.layers(model)))}
    for name in model.encoder_parameters():
        parts.setdefault(anatomy.part(model, name), []).append(name)
    return parts


def _matching(model: Model, pattern: str) -> list[str]:
    names = list(model.encoder_parameters())
    found = [name for name in names if fnmatchcase(name, pattern)]
    if not found:
        raise BadInput(f"the pattern `{pattern}` matches no tensor", key=_KEY, remedy=_near.misses(pattern, names))
    if len(found) == len(names):
        near = _near.misses(pattern, names)
        raise BadInput(f"the pattern `{pattern}` matches every tensor", key=_KEY, expected="a part", remedy=near)
    return found
