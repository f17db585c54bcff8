"""What can be combined: every choice, and every pair of choices, put to the validators of the pipeline file.

Nothing here knows a rule. A pair works when a file with just these two (and defaults elsewhere) is accepted, and one
is refused with the reason that the author of the file would be given; it works where one of the tasks accepts it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

from holdfast import choices, spec
from holdfast.errors import BadInput

_FILE = Path("methods.yaml")
_OLD = {"name": "old", "train": "old.csv", "valid": "old-valid.csv", "test": "old-test.csv"}
_KEYS: dict[choices.Axis, str] = {axis: key for key, axis in spec.AXIS_OF_KEY.items()}


@dataclass(frozen=True)
class Choice:
    """A choice under the key of the pipeline file that takes it."""

    axis: choices.Axis
    name: str

    @property
    def key(self) -> str:
        """The key of the pipeline file."""
        return _KEYS[self.axis]

    @property
    def smallest(self) -> Any:
        """The least that the file must say of its options."""
        return getattr(choices.load(self.axis, self.name), "EXAMPLE", True)

    def __str__(self) -> str:
        return f"{self.key}.{self.name}"


def every() -> list[Choice]:
    """Return all choices of all axes."""
    return [Choice(axis, name) for axis in choices.AXES for name in choices.names(axis)]


def refusal(*chosen: Choice, remembered: bool = True) -> str | None:
    """Return why a file with these choices is refused, or None; `remembered`: with a remembered task's data or not."""
    learn = {"train": "new.csv", "unlabelled": "texts.csv"}
    raw: dict[str, Any] = {"name": "methods", "start": {"model": "base"}, "learn": learn}
    if remembered:
        raw["remember"] = [_OLD]
    for choice in chosen:
        raw.setdefault(choice.key, {})[choice.name] = choice.smallest
    reasons = [_reason({**raw, "task": task}) for task in get_args(spec.Task)]
    return reasons[0] if all(reasons) else None


def _reason(raw: dict[str, Any]) -> str | None:
    try:
        spec.parse(raw, _FILE)
    except BadInput as error:
        return error.what
    return None


def pairs() -> dict[tuple[Choice, Choice], str | None]:
    """Return why each pair of choices is refused, or None where it works."""
    return {pair: refusal(*pair) for pair in combinations(every(), 2)}


def needs_old_data() -> dict[Choice, str]:
    """Return the choices that work only where a remembered task has a `train` dataset, with the reason."""
    found = {choice: refusal(choice, remembered=False) for choice in every() if refusal(choice) is None}
    return {choice: reason for choice, reason in found.items() if reason}


def below() -> dict[Choice, str]:
    """Return, for the choices that decide it, which layers lie below all that moves and so are run once."""
    found = {choice: getattr(choices.load(choice.axis, choice.name), "BELOW", None) for choice in every()}
    return {choice: said for choice, said in found.items() if said}
