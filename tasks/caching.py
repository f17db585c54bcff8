"""When a stage need not run again: its cache key, and what of its inputs the key sees.

The key is the digest of the inputs' own digests, the stage's part of the pipeline file, the import closure of the
library modules that it uses, and package versions. Paths, times and names as written stay out of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from prefect import Task, task
from pydantic import BaseModel

from holdfast import choices, closures, digests, memory
from holdfast.records import DatasetVersion, Record, Start
from holdfast.spec import Recipe

Parameters = dict[str, Any]
Sees = Callable[[Parameters], Any]
Axes = Callable[[Parameters], Iterable[str]]


def stage(module: str, sees: Sees, axes: Axes | None = None) -> Callable[[Callable], Task]:
    """Decorate a stage's task: cached under our key, its result (a record as a dictionary) kept as JSON.

    `module` is the library module that the stage calls; `sees(parameters)` returns what the key depends on; `axes`
    names further modules, those of the method's choices, which are found by name and so by no import.
    """

    def key(context: Any, parameters: Parameters) -> str:
        modules = [module, *(axes(parameters) if axes else ())]
        parts = [context.task.name, plain(sees(parameters)), closures.digest(modules), closures.package_versions()]
        return digests.of_json(parts)

    def decorate(function: Callable) -> Task:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            with memory.given_back():
                return function(*args, **kwargs)

        return task(run, cache_key_fn=key, persist_result=True, result_serializer="json")

    return decorate


def plain(value: Any) -> Any:
    """Return what a key sees of a value: digests for what has one, fields for other models, the rest as it is."""
    if isinstance(value, DatasetVersion):
        return value.digest
    if isinstance(value, Start):
        return [value.digest, plain(value.heads)]
    if isinstance(value, Record):
        return {name: plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    return value


def datasets(versions: dict[str, DatasetVersion], *roles: str) -> dict[str, str]:
    """Return the digests of the datasets whose last role is one of `roles` (`train`, `valid` ...)."""
    return {key: version.digest for key, version in versions.items() if key.rpartition(".")[2] in roles}


def heads(remember: Iterable[Any]) -> list[list[str | None]]:
    """Return each remembered task's name and head, all that a stage sees of it that does not judge."""
    return [[item.name, item.head] for item in remember]


def promises(remember: Iterable[Any]) -> list[list[Any]]:
    """Return each remembered task's name and head with its margin and confidence, for the stages that judge by them."""
    return [[item.name, item.head, item.margin, item.confidence, *answers(item)] for item in remember]


def answers(section: Any) -> list[Any]:
    """Return how a task's answers are judged and how long they may be, nothing for classification."""
    return [section.metric, section.max_new_tokens] if section.metric else []


def modules(axis: choices.Axis, chosen: choices.Choices) -> list[str]:
    """Return the modules of the chosen names on an axis."""
    return [choices.module_name(axis, name) for name in chosen]


def method(recipe: Recipe) -> list[str]:
    """Return the modules of every choice that tuning by `recipe` uses."""
    return [
        *modules("examples", recipe.examples),
        *modules("objectives", recipe.objective),
        *modules("anchors", recipe.anchors),
        *modules("schedules", recipe.schedule),
    ]
