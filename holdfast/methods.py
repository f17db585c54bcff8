"""Named methods: presets over the four axes. What a pipeline file spells out wins over its preset."""

from typing import Any

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
    "full": {"parameters": "full"},
    "layernorm": {"parameters": "layernorm"},
    "lora": {"parameters": "lora"},
    "fish": {"parameters": "mask"},
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
    return {**preset(name), **raw}


def preset(name: str | None) -> dict[str, Any]:
    """Return what a named method, or none, says on every axis."""
    return {**_DEFAULTS, **(PRESETS[name] if name else {})}
