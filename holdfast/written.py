"""A pipeline file as it is written, before anything is checked: YAML read with care, and overrides of its keys."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from holdfast.errors import BadInput


def read(path: Path) -> dict[str, Any]:
    """Return the mapping that a pipeline file holds; raise `BadInput` where there is none, or it cannot be read."""
    try:
        raw = _yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput("no such pipeline file", file=path) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"cannot be read as YAML ({error})", file=path) from error
    if not isinstance(raw, dict):
        raise BadInput("is not a mapping", file=path, expected="keys such as name, start and learn")
    return raw


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which also refuses a key that occurs twice: the first one would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping of `node`; raises `yaml.MarkedYAMLError` for a key that occurs twice."""
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"the key `{key.value}` occurs twice", problem_mark=key.start_mark)
            seen.add(key.value)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


def _yaml(text: str) -> Any:
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def changed(raw: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Set `dotted.key=YAML value` pairs in `raw` and return it; raise `BadInput` for one that cannot be set."""
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key.strip():
            raise BadInput(f"cannot read the override {override!r}", expected="--set dotted.key=value")
        try:
            _set(raw, key.strip().split("."), _yaml(value))
        except yaml.YAMLError as error:
            raise BadInput(f"cannot read the override {override!r} ({error})", expected="a YAML value") from error
    return raw


def _set(target: Any, parts: list[str], value: Any) -> None:
    """Set the value at a dotted key; a part that is missing or empty becomes a mapping, list items go by position."""
    *way, last = parts
    for depth, part in enumerate(way, 1):
        place = _place(target, part, parts)
        if isinstance(target, dict) and target.get(place) is None:
            target[place] = {}
        target = target[place]
        if not isinstance(target, dict | list):
            above = ".".join(parts[:depth])
            raise BadInput(f"cannot be set: `{above}` is {target!r:.80}, not a mapping", key=".".join(parts))
    target[_place(target, last, parts)] = value


def _place(target: Any, part: str, parts: list[str]) -> Any:
    """Return the key or position that `part` is in `target`; raise `BadInput` where a list has no such position."""
    if isinstance(target, dict):
        return part
    if not part.isdigit() or int(part) >= len(target):
        above = ".".join(parts[: parts.index(part)])
        wanted = f"a position from 0 to {len(target) - 1} in the list `{above}`"
        raise BadInput(f"cannot be set: there is no `{part}`", key=".".join(parts), expected=wanted)
    return int(part)
