"""Which methods are tried, a row of the table each, and what a row's pipeline file says beside the world's sections.

Rows are `AXIS/CHOICE` for every choice of every axis, those added later too; `methods/NAME` for the presets that are
more than one choice with its defaults; and `words/...`, crossings on a decoder.
"""

from typing import Any

from holdfast import choices, methods
from holdfast.errors import BadInput

_TEACHER = {"teacher": "models:/first@champion"}
_UNLABELLED = {"learn": {"unlabelled": "texts.csv"}}
_SELF = {"judge": "exact", "paraphrase": "paraphrase.txt", "max_new_tokens": 3}
# Half of the rows are left out: an epoch is to have six updates all the same, and the looks are to be paid for.
_FEWER = {"training": {"batch": 4, "epochs": 5}}
_LONGER = {"training": {"epochs": 10}}  # updates of so few weights are cheap, and many of them pay for the looks
# What a choice needs besides its defaults; a choice that is not named here runs with those.
_OPTIONS: dict[str, dict[str, Any]] = {
    "parameters/layers": {"parameters": {"layers": [0]}},
    "parameters/heads": {"parameters": {"heads": ["0.1", "1.2"]}},
    "parameters/mask": {"parameters": {"mask": 0.2}},
    "parameters/lora": {"parameters": {"lora": 2}},
    "parameters/auto": {"parameters": {"auto": {"most": 2, "budget": 1.0}}},
    "parameters/circuit": {"parameters": {"circuit": 3}},
    "parameters/spt": {"parameters": {"spt": {"share": 0.3, "r": 1}}},
    "parameters/diff-pruning": {"parameters": {"diff-pruning": {"share": 0.1, "epochs": 0.5}}},
    "examples/replay": {"examples": {"replay": 0.5}},
    "examples/domain-text": {"examples": "domain-text", **_UNLABELLED},
    "examples/pseudo-labels": {"examples": {"pseudo-labels": {"threshold": 0.51, "refresh": 4}}, **_UNLABELLED},
    "examples/self": {"examples": {"self": _SELF}},
    "objectives/kd": {"objective": {"kd": _TEACHER}},
    "objectives/hybrid-kd": {"objective": {"hybrid-kd": _TEACHER}},
    **{f"methods/{kind}": {"parameters": {"lora": {"kind": kind, "r": 2}}} for kind in ("dora", "pissa", "corda")},
    "methods/lora-mlp": {"parameters": {"lora": {"targets": ["mlp"], "r": 2}}},
    "methods/shira": {"parameters": {"mask": {"share": 0.2, "by": "random"}}},
    "methods/selective-layers": {"parameters": {"layers": {"count": 1}}},
    "methods/s3ft-wide": {"examples": {"self": _SELF}, "parameters": {"layers": {"count": 1}}},
    **{f"methods/{name}": {"examples": {"self": _SELF}} for name in ("sdft", "self-else-gold")},
    **{f"methods/{name}": {"examples": {"self": _SELF}, **_FEWER} for name in ("self-only", "gold-on-self-subset")},
}
_DECODERS: dict[str, dict[str, Any]] = {
    "words/full": {"parameters": "full"},
    "words/lora": {"parameters": {"lora": 2}, **_LONGER},
    "words/prefix": {"parameters": {"prefix": 2}, **_LONGER},
    "words/prompt": {"parameters": {"prompt": 2}, **_LONGER},
    "words/self, circuit, psft, ewc": {
        "examples": {"self": _SELF},
        "parameters": {"circuit": 3},
        "objective": {"psft": 3},
        "anchors": {"ewc": 2.0},
    },
    "words/domain-text, mask, target, kl": {
        "examples": "domain-text",
        "parameters": {"mask": 0.2},
        "objective": "target",
        "anchors": {"kl": {"batch": 4}},
        **_UNLABELLED,
    },
    "words/replay, heads, kd, l2sp, restarts": {
        "examples": {"replay": 0.3},
        "parameters": {"heads": 2, "layernorm": True},
        "objective": {"kd": {"teacher": "models:/first-words@champion"}},
        "anchors": {"l2sp": 0.5},
        "schedule": "restarts",
    },
}
# Points that a row does not pass: it has no controller.
WITHOUT = {"schedules/wise": ("controller's look", "look not yet noted")}
_KEYS = {"objectives": "objective", "schedules": "schedule"}


def every() -> list[str]:
    """Return all rows."""
    axes = sorted(choices.AXES, key="parameters anchors examples schedules objectives".find)
    found = [f"{axis}/{name}" for axis in axes for name in choices.names(axis)]
    return [*found, *(f"methods/{name}" for name in methods.PRESETS if of(name) == f"methods/{name}"), *_DECODERS]


def of(preset: str) -> str:
    """Return the row of a named method: a choice's where it is nothing but that choice with its defaults."""
    chosen = [
        (axis, name, values)
        for axis, key in ((axis, _KEYS.get(axis, axis)) for axis in choices.AXES)
        for name, values in choices.parse(axis, methods.PRESETS[preset].get(key), key).items()
        if name != "plain"
    ]
    if not chosen:
        return "parameters/full"
    axis, name, values = chosen[0]
    alone = len(chosen) == 1 and values == _defaults(axis, name)
    return f"{axis}/{name}" if alone else f"methods/{preset}"


def named(row: str) -> list[str]:
    """Return the presets that a row stands for."""
    return [preset for preset in methods.PRESETS if of(preset) == row]


def generates(row: str) -> bool:
    """Say whether a row is about answers in words."""
    return row.startswith("words/") or in_own_words(row)


def in_own_words(row: str) -> bool:
    """Say whether a row's method learns what the start model says itself, which is generated before the tuning."""
    axis, _, name = row.partition("/")
    preset = methods.PRESETS[name] if axis == "methods" else {}
    return "self" in {**preset, **chosen(row)}.get("examples", ())


def chosen(row: str) -> dict[str, Any]:
    """Return what a row's pipeline file says beside the world's sections."""
    if row in _DECODERS:
        return _DECODERS[row]
    axis, _, name = row.partition("/")
    if axis == "methods":
        return {"method": name, **_OPTIONS.get(row, {})}
    return _OPTIONS.get(row, {_KEYS.get(axis, axis): [name]})


def moves(row: str) -> bool:
    """Say whether a row's file says itself what may move."""
    preset = methods.PRESETS.get(chosen(row).get("method", ""), {})
    return "parameters" in {**preset, **chosen(row)}


def _defaults(axis: choices.Axis, name: str) -> Any:
    try:
        return choices.parse(axis, name, axis)[name]
    except BadInput:
        return None
