"""The arms of a comparison: named methods with settings of their own, applied to one pipeline file.

    sft                                      a preset of `holdfast.methods`
    psft:objective.psft.refresh=4            the preset with a key of the file set; several are joined by `+`
    file                                     the method that the file itself spells out

Every other arm takes the file's data, contract and training, and none of its axes: what the preset leaves open is at
its default. A key that is set on an axis spells that axis out, and so replaces what the preset says of it.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast import choices, methods, spec, written
from holdfast.errors import BadInput

FILE, START, REFERENCE = "file", "start", "sft"
BASELINES = (REFERENCE, "sft-kl", "replay", "wise-ft", "shira", "lora-mlp")  # beside the start model
_OPEN, _CLOSE = "[{(", "]})"
_CONTROL = "control"
_DATA = ("task", "start", "learn", "remember")
_ALIKE = {  # keys of `training`: why they are the file's for every arm
    "epochs": "arms make equal updates",
    "batch": "arms make equal updates",
    "processes": "arms make equal updates",
    "learning_rate": "every arm's rates are the file's, times those of one grid (--rates)",
    "max_length": "arms read the same texts",
    "seed": "arms are tuned at the same seeds",
}


@dataclass(frozen=True)
class Arm:
    """One method: `name` as it is shown, the preset (None: the file's own method), and `key=value` settings."""

    name: str
    preset: str | None
    settings: tuple[str, ...] = ()


def parse(text: str) -> list[Arm]:
    """Return the arms that a comma-separated list names; commas and pluses inside brackets separate nothing.

    Raises `BadInput` for an unknown preset (naming the nearest), an arm named twice, or an empty list.
    """
    found = [_one(part.strip()) for part in _split(text, ",") if part.strip()]
    names = [arm.name for arm in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInput(f"the arm `{twice[0]}` is named twice", key="--methods")
    if not found:
        raise BadInput("no method is named", key="--methods", expected=f"some of {', '.join(methods.PRESETS)}")
    return found


def _one(text: str) -> Arm:
    name, colon, rest = text.partition(":")
    if name != FILE and name not in methods.PRESETS:
        known = [FILE, *methods.PRESETS]
        near = choices.nearest(name, known)
        raise BadInput(f"no method named `{name}`", key="--methods", expected=f"one of {', '.join(known)}", remedy=near)
    settings = tuple(part.strip() for part in _split(rest, "+")) if colon else ()
    return Arm(text, None if name == FILE else name, settings)


def _split(text: str, separator: str) -> list[str]:
    """Return the pieces of a text between separators that stand in no brackets."""
    pieces, depth = [""], 0
    for character in text:
        depth += (character in _OPEN) - (character in _CLOSE)
        if character == separator and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += character
    return pieces


def baselines(chosen: Sequence[Arm], raw: dict[str, Any], path: Path) -> tuple[list[Arm], list[str]]:
    """Return the baselines that are not among the `chosen` arms and fit the file, and why others were left out.

    A baseline that comes to the same pipeline as a chosen arm is not run again, except the one that arms are compared
    with.
    """
    there = {pipeline(arm, raw, path).model_copy(update={"method": None}).digest for arm in chosen}
    added, notes = [], []
    for name in BASELINES:
        arm = Arm(name, name)
        if any(one.name == name for one in chosen):
            continue
        try:
            made = pipeline(arm, raw, path)
        except BadInput as error:
            notes.append(f"the baseline `{name}` is left out: {error.what}")
            continue
        if made.model_copy(update={"method": None}).digest not in there or name == REFERENCE:
            added.append(arm)
    return added, notes


def pipeline(arm: Arm, raw: dict[str, Any], path: Path) -> spec.Pipeline:
    """Return the pipeline of an arm: the mapping `raw` of the file at `path` with the arm's method in its place.

    Updates are to be equal and every arm is to be seen as it is, so early stopping is off, and so is the controller,
    except where the arm's own preset or settings say otherwise. Raises `BadInput` where the arm does not fit the file.
    """
    values = copy.deepcopy(raw)
    if arm.preset is not None:
        values = {key: value for key, value in values.items() if key not in {"method", *spec.AXIS_OF_KEY}}
        values["method"] = arm.preset
    values["training"] = {**(values.get("training") or {}), "patience": None}
    if _controlled(arm):
        values.pop("control", None)
    elif not _sets_control(arm):
        values["control"] = {**(values.get("control") or {}), "enabled": False}
    values = _without_circuit(written.changed(values, arm.settings))
    try:
        return spec.parse(values, path)
    except BadInput as error:
        what = f"the arm `{arm.name}`: {error.what}"
        raise BadInput(what, file=path, key=error.key, expected=error.expected, remedy=error.remedy) from error


def check_alike(pipelines: dict[str, spec.Pipeline], file: spec.Pipeline) -> None:
    """Raise `BadInput` where an arm's settings change what all arms have from the file: data, updates, rates, seeds.

    What else is in `training` an arm may set, as a method may ask for it: weight decay, clipping, how a head begins.
    """
    for name, pipeline in pipelines.items():
        for key in _DATA:
            if getattr(pipeline, key) != getattr(file, key):
                raise BadInput(f"the arm `{name}` changes `{key}`: it could not be compared with the others", key=key)
        for key, why in _ALIKE.items():
            if getattr(pipeline.training, key) != getattr(file.training, key):
                what, remedy = f"the arm `{name}` changes `{key}`: {why}", f"For all arms: --set training.{key}=VALUE."
                raise BadInput(what, key=f"training.{key}", remedy=remedy)


def _controlled(arm: Arm) -> bool:
    """Say whether the controller is part of an arm's preset, whose settings of it then hold."""
    return _CONTROL in methods.PRESETS.get(arm.preset or "", {})


def _sets_control(arm: Arm) -> bool:
    return any(re.match(rf"{_CONTROL}[.=]", one) for one in arm.settings)


def _without_circuit(values: dict[str, Any]) -> dict[str, Any]:
    """Return the mapping without how a circuit is found, where the method chooses none."""
    assess = values.get("assess") or {}
    chosen = methods.expand(values)["parameters"]
    names = [chosen] if isinstance(chosen, str) else list(chosen)
    if "circuit" not in assess or "circuit" in names:
        return values
    return {**values, "assess": {key: value for key, value in assess.items() if key != "circuit"}}
