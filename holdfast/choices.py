"""The four axes and their choices: one file per choice, found by its name.

A choice `NAME` of an axis is the module `holdfast/AXIS/NAME.py` (dashes become underscores); a file whose name starts
with an underscore is shared code. Each choice module has a pydantic class `Options` and may have `SHORTHAND`, the
option that a bare value sets (`heads: 8`), and `EXAMPLE`, options that do where the defaults alone do not. What else
it must define is said in its axis package's docstring. Choice modules import torch only inside functions or under
TYPE_CHECKING, so that reading a pipeline file stays cheap.
"""

import difflib
import importlib
import pkgutil
import re
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from holdfast.errors import BadInput

Axis = Literal["examples", "parameters", "objectives", "anchors", "schedules", "judges"]  # judges: found likewise
AXES: tuple[Axis, ...] = ("examples", "parameters", "objectives", "anchors", "schedules")
Choices = dict[str, dict[str, Any]]


class Options(BaseModel):
    """Base of every choice's options: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def names(axis: Axis) -> list[str]:
    """Return the names of an axis's choices, sorted."""
    package = importlib.import_module(f"holdfast.{axis}")
    return sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(package.__path__) if m.name[0] != "_")


def module_name(axis: Axis, name: str) -> str:
    """Return the dotted module name of a choice."""
    return f"holdfast.{axis}.{name.replace('-', '_')}"


def load(axis: Axis, name: str, key: str | None = None) -> ModuleType:
    """Return the module of a choice; raise `BadInput` that names the nearest known choice."""
    known = names(axis)
    if name not in known:
        near = nearest(name, known)
        raise BadInput(
            f"no choice named `{name}` for {axis}", key=key, expected=f"one of {', '.join(known)}", remedy=near
        )
    return importlib.import_module(module_name(axis, name))


def options(axis: Axis, name: str, values: dict[str, Any]) -> Any:
    """Return the typed options of a choice, from what `parse` made of them."""
    return load(axis, name).Options(**values)


def parse(axis: Axis, raw: Any, key: str) -> Choices:
    """Return `raw` (a name, a mapping of names to options, or a list of either) as {name: all options with defaults}.

    `true` means the defaults, `false` leaves a choice out, a bare value sets the choice's shorthand option.
    Raises `BadInput` naming the dotted key, with the nearest known name.
    """
    chosen: Choices = {}
    for name, values in pairs(raw, key):
        if values is False:
            continue
        if name in chosen:
            raise BadInput(f"`{name}` is chosen twice", key=key)
        chosen[name] = _parse_one(axis, name, values, f"{key}.{name}")
    return chosen


def located(axis: Axis, chosen: Choices, folder: Path) -> Choices:
    """Return choices with the paths among their options absolute, taken from `folder`; a module's `located` knows."""
    modules = {name: load(axis, name) for name in chosen}
    return {
        name: modules[name].located(values, folder) if hasattr(modules[name], "located") else values
        for name, values in chosen.items()
    }


def named_files(examples: Choices, metric: str | None) -> dict[str, Any]:
    """Return {choice: digests of the files and code that its options only name}, of those `examples` that have any."""
    modules = {name: load("examples", name) for name in examples}
    return {
        name: module.key(module.Options(**examples[name]), metric)
        for name, module in modules.items()
        if hasattr(module, "key")
    }


def pairs(raw: Any, key: str = "") -> list[tuple[str, Any]]:
    """Return (name, what is said of it) of a name, a mapping or a list of either; raise `BadInput` for others."""
    if raw is None:
        return []
    if isinstance(raw, str):
        return [(raw, True)]
    if isinstance(raw, dict):
        return [(str(name), values) for name, values in raw.items()]
    if isinstance(raw, list):
        return [pair for item in raw for pair in pairs(item, key)]
    raise BadInput(f"cannot read {raw!r}", key=key, expected="a name, a mapping or a list")


def _parse_one(axis: Axis, name: str, values: Any, key: str) -> dict[str, Any]:
    module = load(axis, name, key)
    if not isinstance(values, dict):
        values = {} if values is True or values is None else _shorthand(module, name, values, key)
    try:
        chosen: Options = module.Options.model_validate(values)
        return chosen.model_dump(mode="json")
    except ValidationError as error:
        raise from_validation(error, key, list(module.Options.model_fields)) from error


def _shorthand(module: ModuleType, name: str, value: Any, key: str) -> dict[str, Any]:
    field = getattr(module, "SHORTHAND", None)
    if field is None:
        raise BadInput(f"`{name}` takes no bare value, got {value!r}", key=key, expected="true or a mapping of options")
    return {field: value}


def nearest(name: str, known: list[str]) -> str | None:
    """Return a sentence that names the known name nearest to `name`, or None when nothing is near."""
    match = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"Did you mean `{match[0]}`?" if match else None


def from_validation(error: ValidationError, key: str, known: list[str], file: object = None) -> BadInput:
    """Return pydantic's first complaint as a `BadInput` with the dotted key, and the nearest key or value."""
    first = error.errors()[0]
    where = ".".join([*([key] if key else []), *(str(part) for part in first["loc"])])
    if first["type"] == "extra_forbidden":
        return BadInput("unknown key", file=file, key=where, remedy=nearest(str(first["loc"][-1]), known))
    if first["type"] == "missing":
        return BadInput("is missing", file=file, key=where)
    near = None
    if first["type"] == "literal_error":
        near = nearest(str(first["input"]), re.findall(r"'([^']*)'", str(first["ctx"]["expected"])))
    got = f"Got {first['input']!r:.80}."
    return BadInput(
        first["msg"].removeprefix("Value error, "), file=file, key=where, remedy=f"{got} {near}" if near else got
    )
