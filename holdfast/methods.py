"""Named methods: presets over the four axes. What a pipeline file spells out wins over its preset.

Options that a preset gives to a choice of examples also hold where the file names that choice and is silent on them:
`method: sdft` with `examples: {self: {judge: exact}}` is still SDFT.
"""

from typing import Any

from holdfast import choices
from holdfast.choices import nearest
from holdfast.errors import BadInput

_DEFAULTS: dict[str, Any] = {
    "examples": "gold",
    "parameters": "full",
    "objective": "sft",
    "anchors": [],
    "schedule": "plain",
}

PRESETS: dict[str, dict[str, Any]] = {
    "sft": {},
    "full": {"parameters": "full"},
    "layernorm": {"parameters": "layernorm"},
    "lora": {"parameters": "lora"},
    **{name: {"parameters": {"lora": {"kind": name}}} for name in ("dora", "pissa", "corda", "osf")},
    "lora-mlp": {"parameters": {"lora": {"targets": ["mlp"]}}},
    "ia3": {"parameters": "ia3"},
    **{name: {"parameters": name} for name in ("houlsby", "prefix", "prompt", "spt", "diff-pruning")},
    "fish": {"parameters": "mask"},
    "shira": {"parameters": {"mask": {"by": "random"}}},
    "ct-sft": {"parameters": "circuit"},
    "replay": {"examples": "replay"},
    "ewc": {"anchors": ["ewc"]},
    "lwf": {"anchors": ["lwf"]},
    "l2sp": {"anchors": ["l2sp"]},
    "psft": {"objective": "psft"},
    "target-sft": {"objective": "target"},
    **{
        name: {"objective": name}
        for name in (
            "dft",
            "p-loss",
            "beyond-log",
            "profit",
            "eaft",
            "cft",
            "iw-sft",
            "focal",
            "label-smoothing",
            "sft-kl",
            "asft",
            "gem",
        )
    },
    "s3ft": {"examples": {"self": {"arm": "s3ft"}}},
    **{name: {"examples": {"self": {"arm": name}}} for name in ("sdft", "self-only", "self-else-gold")},
    "gold-on-self-subset": {"examples": {"self": {"arm": "gold-on-self-subset"}}},
    "s3ft-wide": {"examples": "self", "parameters": {"layers": {"count": 2}}, "schedule": ["importance-scaled"]},
    "selective-layers": {"parameters": {"layers": {"count": 2}}, "schedule": ["importance-scaled"]},
    "wise-ft": {"schedule": ["plain", "wise"]},
    "ulmfit": {"schedule": ["discriminative", "slanted", "unfreezing"]},
}


def expand(raw: dict[str, Any]) -> dict[str, Any]:
    """Return `raw` with its method's preset, and then the defaults, filled in on the axes that it leaves open."""
    name = raw.get("method")
    if name is not None and (not isinstance(name, str) or name not in PRESETS):
        known = list(PRESETS)
        raise BadInput(
            f"no method named `{name}`",
            key="method",
            expected=f"one of {', '.join(known)}",
            remedy=nearest(str(name), known),
        )
    chosen = preset(name)
    own = {"examples": _completed(chosen["examples"], raw["examples"])} if "examples" in raw else {}
    return {**chosen, **raw, **own}


def _completed(given: Any, own: Any) -> Any:
    """Return what a file says of its examples, completed by the options that the preset gives to the same choice."""
    if not isinstance(given, dict) or not isinstance(own, str | dict | list):
        return own
    found: dict[str, Any] = {}
    for choice, said in choices.pairs(own):
        if choice in found:
            return own  # chosen twice: refused where choices are read
        options = given.get(choice)
        found[choice] = said if options is None or said is False else {**options, **_options(choice, said)}
    return found


def _options(choice: str, said: Any) -> dict[str, Any]:
    """Return what a file says of a choice of `examples` as a mapping."""
    if said is None or said is True:
        return {}
    return said if isinstance(said, dict) else {choices.load("examples", choice).SHORTHAND: said}


def preset(name: str | None) -> dict[str, Any]:
    """Return what a named method, or none, says on every axis."""
    return {**_DEFAULTS, **(PRESETS[name] if name else {})}
