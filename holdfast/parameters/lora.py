"""Low-rank matrices beside frozen ones move: LoRA through PEFT (Hu et al. 2021), per layer where asked.

lora: 8
lora: {r: 8, alpha: 16, layers: [4, 5], targets: [query, value]}
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import Field

from holdfast import anatomy, choices
from holdfast.errors import BadInput
from holdfast.parameters import _near
from holdfast.selection import Selection

if TYPE_CHECKING:
    from holdfast.importance.read import Importance
    from holdfast.models import Model

SHORTHAND = "r"
_KEY = "parameters.lora"


class Options(choices.Options):
    """Rank `r`, scale `alpha` / r, dropout before the matrices, `targets` (the last parts of linear modules' names;
    default query and value) and the `layers` in which they are adapted (negative from the top; default all).
    """

    r: int = Field(8, ge=1)
    alpha: float = Field(16, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: tuple[str, ...] = ()
    layers: tuple[int, ...] = ()


def select(model: Model, importance: Importance | None, options: Options) -> Selection:
    """Return the keyword arguments of a `peft.LoraConfig` with every adapted module spelt out.

    Spelling them out avoids `layers_to_transform`, which cannot go with a regex of targets. Works for any
    architecture when `targets` are given. Raises `BadInput` with near misses when a target or a layer matches nothing.
    """
    linear = _linear_modules(model)
    targets = options.targets or _default_targets(model, linear)
    modules = {target: [m for m in linear if f".{m}".endswith(f".{target}")] for target in targets}
    for target, found in modules.items():
        if not found:
            raise BadInput(f"no linear module `{target}`", key=f"{_KEY}.targets", remedy=_near.misses(target, linear))
    every = [module for module in linear if any(module in found for found in modules.values())]
    chosen = _in_layers(every, options.layers)
    config: dict[str, Any] = {"r": options.r, "lora_alpha": options.alpha, "lora_dropout": options.dropout}
    return Selection(
        lora={**config, "target_modules": chosen, "bias": "none"}, parts=tuple(f"lora {m}" for m in chosen)
    )


def _linear_modules(model: Model) -> list[str]:
    from torch import nn

    return [name for name, module in model.network.base_model.named_modules() if isinstance(module, nn.Linear)]


def _default_targets(model: Model, linear: list[str]) -> tuple[str, ...]:
    if anatomy.known(model):
        row = anatomy.family(model)
        return (row.query, row.value)
    leaves = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
    kind = model.network.config.model_type
    raise BadInput(
        f"the architecture `{kind}` has no default targets", key=f"{_KEY}.targets", expected=f"some of {leaves}"
    )


def _in_layers(modules: list[str], layers: tuple[int, ...]) -> list[str]:
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
        raise BadInput(what, key=f"{_KEY}.layers", expected=f"layers among {known}", remedy=near)
    return [module for module in modules if numbers.get(module) in wanted]
