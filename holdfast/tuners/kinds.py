"""The kinds of tuners: what the parameters that they add are called, and what can be done with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast import anatomy


@dataclass(frozen=True)
class Kind:
    """A PEFT type. `mark` is in the names of the parameters that it adds, and in no other's.

    `merges`: it can be added to the weights, exactly but for rounding. `kept`: its own tensors are what is saved; else
    the weights that it made are. `decays`: weight decay draws towards what the base does. `ours`: PEFT knows it only
    after `import holdfast.tuners.registered`.
    """

    peft_type: str
    mark: str
    merges: bool = True
    kept: bool = True
    decays: bool = True
    ours: bool = False


KINDS = {
    kind.peft_type: kind
    for kind in (
        Kind("LORA", ".lora_"),
        Kind("IA3", ".ia3_l.", decays=False),
        Kind("OSF", ".osf_svd_params.", kept=False, decays=False),
        Kind("HOLDFAST_BOTTLENECK", ".holdfast_bottleneck_", merges=False, ours=True),
        Kind("HOLDFAST_PREFIX", ".holdfast_prefix_", merges=False, ours=True),
        Kind("HOLDFAST_PROMPT", ".holdfast_prompt_", merges=False, ours=True),
    )
}
_MAGNITUDE = ".lora_magnitude_vector."


def of(arguments: Mapping[str, Any]) -> Kind:
    """Return the kind that a PEFT configuration's arguments are of; LoRA where they do not say."""
    return KINDS[arguments.get("peft_type", "LORA")]


def is_added(name: str) -> bool:
    """Say whether a parameter was added by a tuner, by its full name."""
    return any(kind.mark in name for kind in KINDS.values())


def bare(name: str) -> str:
    """Return a tensor's name as it is without a tuner around its module."""
    return name.replace(".base_layer.", ".")


def decays(name: str, arguments: Mapping[str, Any]) -> bool:
    """Say whether weight decay may draw an added parameter to 0: not where 0 is far from what the base does."""
    return of(arguments).decays and _MAGNITUDE not in name


def weights(name: str, module: Any, arguments: Mapping[str, Any]) -> int:
    """Return how many weights a tuner adds at the module `name` that it targets."""
    kind = of(arguments).peft_type
    if kind == "HOLDFAST_PREFIX":
        return 2 * int(arguments["length"]) * int(arguments["groups"]) * int(arguments["head_dim"])
    if kind == "HOLDFAST_PROMPT":
        return int(arguments["length"]) * int(arguments["width"]) if name == arguments["first"] else 0
    inputs, outputs = anatomy.linear_sizes(module)
    if kind == "IA3":
        return inputs if name in arguments["feedforward_modules"] else outputs
    if kind == "OSF":
        return (min(inputs, outputs) - _kept_rank(inputs, outputs, arguments)) * (inputs + outputs + 1)
    if kind == "HOLDFAST_BOTTLENECK":
        return int(arguments["size"]) * (2 * outputs + 1) + outputs
    return int(arguments["r"]) * (inputs + outputs) + (outputs if arguments.get("use_dora") else 0)


def _kept_rank(inputs: int, outputs: int, arguments: Mapping[str, Any]) -> int:
    """Return how many singular directions OSF keeps: PEFT rounds a share down."""
    return int(min(inputs, outputs) * float(arguments["effective_rank"]))
