"""The heads of a circuit move, and every layer norm: CT-SFT (arXiv 2601.08146).

    circuit: true                                the circuit as it was found
    circuit: 8                                   the first eight heads of its ranking
    circuit: {share: 0.05, kind: random, draw: 3}

The heads are rows and columns as in `heads`. `kind` gives the paper's arms beside the circuit: as many heads whose
relevance to the answer is nearest to 0, or drawn at random. The arm without heads is the choice `layernorm`. How many
heads the paper takes was not found: as many as the circuit has is inferred.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from holdfast import choices
from holdfast.errors import BadInput
from holdfast.parameters import heads, layernorm
from holdfast.selection import Selection, union

if TYPE_CHECKING:
    from holdfast.importance.read import Importance
    from holdfast.models import Model

SHORTHAND = "heads"
_KEY = "parameters.circuit"
BELOW = "nothing with `layernorm`, which moves every layer; without, the layers below the lowest head"


class Options(choices.Options):
    """How many `heads`, or what `share` of all; by default as many as the circuit has.

    `layernorm` trains every layer norm beside them (the paper's arms all do). `kv` is `heads`' own option: whether the
    key and value rows of a head's group move; what the paper did is not known. `draw` seeds `kind: random`.
    """

    heads: int | None = Field(None, ge=1)
    share: float | None = Field(None, gt=0, lt=1)
    layernorm: bool = True
    kv: Literal["shared", "none"] = "shared"
    kind: Literal["circuit", "near-zero", "random"] = "circuit"
    draw: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _one_way(self) -> Options:
        if self.heads is not None and self.share is not None:
            raise ValueError("give either a number of heads or a share, not both")
        return self


def select(model: Model, importance: Importance | None, options: Options) -> Selection:
    """Return the masks of the heads, and the layer norms; raise `BadInput` where no circuit was found."""
    if importance is None or importance.circuit is None:
        raise BadInput("no circuit was looked for", key=_KEY, remedy="Name heads by hand with `heads`.")
    found = importance.circuit
    every = found["ranking"]
    count = options.heads or (round(options.share * len(every)) if options.share else len(found["heads"]))
    if not 0 < count < len(every):
        raise BadInput(f"{count} of {len(every)} heads", key=_KEY, expected=f"1 to {len(every) - 1} heads")
    names = sorted(_chosen(found, count, options), key=lambda name: [int(part) for part in name.split(".")])
    moving = heads.select(model, importance, heads.Options(names=tuple(names), kv=options.kv))
    if options.layernorm:
        moving = union(moving, layernorm.select(model, importance, layernorm.Options()))
    return union(moving, Selection(notes=(_note(found, count, options),)))


def _chosen(found: dict[str, Any], count: int, options: Options) -> list[str]:
    ranking: list[str] = found["ranking"]
    if options.kind == "random":
        return random.Random(options.draw).sample(sorted(ranking), count)
    if options.kind == "near-zero":
        return sorted(ranking, key=lambda name: abs(found["scores"][name]))[:count]
    return ranking[:count]


def _note(found: dict[str, Any], count: int, options: Options) -> str:
    how = {
        "circuit": f"first of the circuit of `{found['task']}` (it has {len(found['heads'])}), then by relevance",
        "near-zero": f"with relevance to `{found['task']}` nearest to 0",
        "random": f"drawn at random, draw {options.draw}",
    }[options.kind]
    return f"{count} heads {how}; key and value rows of their groups {'too' if options.kv == 'shared' else 'stay'}"
