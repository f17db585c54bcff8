"""`holdfast merge`: registered versions of one start model as a new version."""

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from flows.cli import common


class How(StrEnum):
    """The rules by which versions combine."""

    task_arithmetic = "task-arithmetic"
    ties = "ties"


def merge(
    versions: Annotated[list[str], typer.Argument(help="NAME@champion or NAME/3, of one start model.")],
    name: Annotated[str, typer.Option("--name", help="The name that the merged version is registered under.")],
    how: Annotated[How, typer.Option("--how", help="Add task vectors up, or trim, elect signs and average.")],
    weights: Annotated[str | None, typer.Option(help="A number per version, by commas; 1 each where left out.")] = None,
    density: Annotated[float | None, typer.Option(help="ties: the share of each change that is kept (0.2).")] = None,
    judge: Annotated[
        Path | None, typer.Option(help="A pipeline file whose data and contract judge the result.")
    ] = None,
    home: common.HomeOption = None,
    json: common.JsonOption = False,
) -> None:
    """Merge versions and judge the result like any other. Exit 0: promoted; 3: registered but refused."""
    with common.guarded(json):
        place = common.enter(home)
        numbers = _numbers(weights, len(versions))
        kept = _density(how, density)
        from flows import merge as merging
        from flows.cli import run

        references = [common.version_of(version) for version in versions]
        result = merging.run(references, how.value, numbers, kept, name, place, judge)
        run.show(result, json)
        raise typer.Exit(0 if result.verdict == "promoted" else 3)


def _numbers(text: str | None, count: int) -> list[float]:
    from holdfast.errors import BadInput

    if text is None:
        return [1.0] * count
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise BadInput(f"cannot read `{text}`", key="--weights", expected="numbers separated by commas") from error
    infinite = next((number for number in found if not math.isfinite(number)), None)
    if infinite is not None:
        raise BadInput(f"{infinite:g} is no weight", key="--weights", expected="finite numbers")
    if len(found) != count:
        raise BadInput(f"{len(found)} weights for {count} versions", key="--weights", expected=f"{count} numbers")
    return found


def _density(how: How, density: float | None) -> float | None:
    from holdfast.errors import BadInput

    if how is How.task_arithmetic:
        if density is not None:
            raise BadInput("is read by `ties` alone", key="--density")
        return None
    if density is not None and not 0 < density <= 1:
        raise BadInput(f"{density:g} is no share", key="--density", expected="above 0, at most 1")
    return 0.2 if density is None else density
