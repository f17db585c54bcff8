"""What can be combined: every choice, and every pair of choices, put to the validators of the pipeline file.

Nothing here knows a rule. A pair works when a file with just these two (and defaults elsewhere) is accepted in some
task. One that works in none is refused with the reason that the author of the file would be given, in the first task
that accepts each of its choices alone.
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
TASKS: tuple[spec.Task, ...] = get_args(spec.Task)
Reasons = dict[spec.Task, str | None]


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


@dataclass(frozen=True)
class Answer:
    """In which `tasks` a file is accepted, and the `reason` why it is refused where that is none."""

    tasks: tuple[spec.Task, ...]
    reason: str | None


def every() -> list[Choice]:
    """Return all choices of all axes."""
    return [Choice(axis, name) for axis in choices.AXES for name in choices.names(axis)]


def answer(*chosen: Choice, remembered: bool = True) -> Answer:
    """Return what is said of a file with these choices; `remembered`: with a remembered task's data or not."""
    return _answer(chosen, remembered, {choice: _reasons((choice,)) for choice in chosen})


def alone() -> dict[Choice, Reasons]:
    """Return for each choice by itself, by task, why it is refused there, None where it is accepted."""
    return {choice: _reasons((choice,)) for choice in every()}


def pairs() -> dict[tuple[Choice, Choice], Answer]:
    """Return what is said of each pair of choices."""
    found = alone()
    return {pair: _answer(pair, True, found) for pair in combinations(found, 2)}


def needs_old_data() -> dict[Choice, str]:
    """Return the choices that work only where a remembered task has a `train` dataset, with the reason."""
    able = [choice for choice, said in alone().items() if _accepting(said)]
    found = {choice: answer(choice, remembered=False).reason for choice in able}
    return {choice: reason for choice, reason in found.items() if reason}


def below() -> dict[Choice, str]:
    """Return, for the choices that decide it, which layers lie below all that moves and so are run once."""
    found = {choice: getattr(choices.load(choice.axis, choice.name), "BELOW", None) for choice in every()}
    return {choice: said for choice, said in found.items() if said}


def _answer(chosen: tuple[Choice, ...], remembered: bool, by_itself: dict[Choice, Reasons]) -> Answer:
    said = _reasons(chosen, remembered)
    if _accepting(said):
        return Answer(_accepting(said), None)
    places = {choice: _accepting(by_itself[choice]) for choice in chosen}
    shared = [task for task in TASKS if all(task in tasks for tasks in places.values())]
    if not shared and all(places.values()):
        where = ", ".join(f"`{choice.name}` in {' and '.join(tasks)}" for choice, tasks in places.items())
        return Answer((), f"no task takes both: {where}")
    return Answer((), said[(shared or TASKS)[0]])


def _accepting(said: Reasons) -> tuple[spec.Task, ...]:
    return tuple(task for task, reason in said.items() if reason is None)


def _reasons(chosen: tuple[Choice, ...], remembered: bool = True) -> Reasons:
    """Return by task why a file with these choices is refused, None where it is not."""
    learn = {"train": "new.csv", "unlabelled": "texts.csv"}
    raw: dict[str, Any] = {"name": "methods", "start": {"model": "base"}, "learn": learn}
    if remembered:
        raw["remember"] = [_OLD]
    for choice in chosen:
        raw.setdefault(choice.key, {})[choice.name] = choice.smallest
    return {task: _reason({**raw, "task": task}) for task in TASKS}


def _reason(raw: dict[str, Any]) -> str | None:
    try:
        spec.parse(raw, _FILE)
    except BadInput as error:
        return error.what
    return None
