"""Which linear modules of an encoder something is added to: by name, by the words `attention` and `mlp`, by layer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from holdfast import anatomy
from holdfast.errors import BadInput
from holdfast.parameters import _near

if TYPE_CHECKING:
    from holdfast.models import Model

_WORDS = ("attention", "mlp")


def chosen(model: Model, targets: Sequence[str], layers: Sequence[int], key: str) -> list[str]:
    """Return the names inside the encoder of the linear modules that `targets` stand for, in the `layers` asked for.

    A target is the last parts of modules' names, or a word; without any they are the query and the value. Raises
    `BadInput` at `key` with near misses when a target or a layer matches nothing.
    """
    linear = linear_modules(model)
    _alone(model, targets, key)
    targets = targets or _default(model, linear, key)
    modules = {target: _matching(model, target, linear) for target in targets}
    for target, found in modules.items():
        if not found:
            raise BadInput(f"no linear module `{target}`", key=f"{key}.targets", remedy=_near.misses(target, linear))
    every = [module for module in linear if any(module in found for found in modules.values())]
    return _in_layers(every, layers, key)


def linear_modules(model: Model) -> list[str]:
    """Return the names inside the encoder of the linear modules whose weights are theirs alone."""
    from torch import nn

    shared = _shared(model)
    return [
        name
        for name, module in model.encoder.named_modules()
        if (isinstance(module, nn.Linear) or anatomy.is_transposed(module)) and name not in shared
    ]


def _shared(model: Model) -> dict[str, str]:
    """Return {module: another that has the same weight}, as a tied decoder's output layer and its embeddings."""
    found: dict[str, str] = {}
    first: dict[int, str] = {}
    for name, parameter in model.encoder.named_parameters(remove_duplicate=False):
        module = name.rpartition(".")[0]
        other = first.setdefault(id(parameter), module)
        if other != module:
            found |= {module: other, other: module}
    return found


def _alone(model: Model, targets: Sequence[str], key: str) -> None:
    """Raise `BadInput` where a target is a module that shares its weight: what is added to one would change both."""
    shared = _shared(model)
    for target in targets:
        found = next((module for module in shared if _is_called(module, target)), None)
        if found:
            what = f"`{found}` shares its weight with `{shared[found]}`, so nothing can be added to it alone"
            raise BadInput(what, key=f"{key}.targets", expected="linear modules whose weights are theirs alone")


def _is_called(module: str, target: str) -> bool:
    return f".{module}".endswith(f".{target}")


def transposed(model: Model, modules: Sequence[str]) -> dict[str, bool]:
    """Return what a PEFT configuration says besides where linear maps keep their weights as [in, out] (GPT-2)."""
    maps = [model.encoder.get_submodule(name) for name in modules]
    return {"fan_in_fan_out": True} if any(anatomy.is_transposed(module) for module in maps) else {}


def of_layers(model: Model, *parts: str, choice: str) -> list[str]:
    """Return the modules called so in each layer of the encoder, by names inside it; `parts` are fields of a family.

    A module that is several of these parts is there once.
    """
    row = anatomy.family(model, choice)
    paths = list(dict.fromkeys(path for part in parts for path in _paths(getattr(row, part))))
    stems = [layer.removeprefix(model.encoder_prefix) for layer in anatomy.layers(model)]
    return [f"{stem}.{path}" for stem in stems for path in paths]


def _paths(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _matching(model: Model, target: str, linear: list[str]) -> list[str]:
    if target not in _WORDS:
        return [module for module in linear if _is_called(module, target)]
    parts = ("mlp",) if target == "mlp" else ("query", "key", "value", "output")
    return of_layers(model, *parts, choice=target)


def _default(model: Model, linear: list[str], key: str) -> tuple[str, ...]:
    if anatomy.known(model):
        row = anatomy.family(model)
        return (row.query, row.value)
    leaves = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
    kind = model.network.config.model_type
    what = f"the architecture `{kind}` has no default targets"
    raise BadInput(what, key=f"{key}.targets", expected=f"some of {leaves}")


def _in_layers(modules: list[str], layers: Sequence[int], key: str) -> list[str]:
    """Return the modules inside the layers asked for; a module's layer is the first number in its name."""
    if not layers:
        return modules
    numbers = {module: int(found.group(1)) for module in modules if (found := re.search(r"\.(\d+)\.", module))}
    depth = max(numbers.values(), default=-1) + 1
    wanted = {number + depth if number < 0 else number for number in layers}
    missing = sorted(wanted - set(numbers.values()))
    if missing:
        known = ", ".join(str(n) for n in sorted(set(numbers.values()))) or "none"
        near = _near.misses(str(missing[0]), [str(n) for n in sorted(set(numbers.values()))])
        what = f"no targeted module is in layer {missing[0]}"
        raise BadInput(what, key=f"{key}.layers", expected=f"layers among {known}", remedy=near)
    return [module for module in modules if numbers.get(module) in wanted]
