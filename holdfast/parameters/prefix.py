"""Learned keys and values before those of the text move: prefix tuning (Li and Liang 2021, arXiv 2101.00190).

They begin as the keys and values of words drawn from the vocabulary (the paper found real words' activations the better
start), and are trained themselves, without the paper's network that makes them: both inferred. A model with such a
prefix is not the base to begin with. It cannot be merged into weights. See `holdfast.tuners.prefix`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from holdfast import anatomy, choices, inference
from holdfast.parameters import _targets, _words
from holdfast.selection import Selection

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.importance.read import Importance
    from holdfast.models import Model

SHORTHAND = "length"
ADDS = "keys and values"
BELOW = "nothing: every layer sees the prefix"


class Options(choices.Options):
    """`length` in tokens; `draw` seeds the words that it begins with."""

    length: int = Field(8, ge=1)
    draw: int = Field(0, ge=0)


def select(model: Model, importance: Importance | None, options: Options) -> Selection:
    """Return the arguments of a `PrefixConfig` and its first values; raise `BadInput` for an unknown architecture."""
    sizes = anatomy.attention(model)[0]
    row = anatomy.family(model, "prefix")
    modules = [name.rpartition(".")[0] for name in _targets.of_layers(model, "query", choice="prefix")]
    seen = _outputs(model, _targets.of_layers(model, "key", "value", choice="prefix"), options)
    first = {}
    for module in modules:
        for place, path, kind in ((1, row.key, "key"), (2, row.value, "value")):
            found = seen[f"{module}.{path.rpartition('.')[2]}"]
            own = found.chunk(3, -1)[place] if row.query == row.key else found  # GPT-2: query, key and value at once
            values = own.view(-1, sizes.groups, sizes.head_dim)
            first[f"{module}.holdfast_prefix_{kind}"] = values.transpose(0, 1).contiguous()
    added = {
        "peft_type": "HOLDFAST_PREFIX",
        "target_modules": modules,
        "length": options.length,
        "groups": sizes.groups,
        "head_dim": sizes.head_dim,
    }
    return Selection(added=added, first=first, parts=tuple(f"prefix of {module}" for module in modules))


def _outputs(model: Model, modules: list[str], options: Options) -> dict[str, Tensor]:
    """Return what modules give for the drawn words, [length, width] each."""
    import torch

    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda module, args, output: seen.update({name: output[0].detach().cpu().clone()})

    handles = [model.encoder.get_submodule(name).register_forward_hook(keep(name)) for name in modules]
    try:
        with torch.no_grad(), inference.evaluating(model.network):
            model.network.base_model(input_ids=_words.drawn(model, options.length, options.draw))
    finally:
        for handle in handles:
            handle.remove()
    return seen
