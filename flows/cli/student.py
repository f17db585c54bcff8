"""`holdfast student`: a smaller start model made of some of a model's layers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import common

if TYPE_CHECKING:
    from holdfast.spec import Task


def student(
    model: Annotated[str, typer.Argument(help="A base model, or models:/NAME@champion.")],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="An empty or new folder.")],
    layers: Annotated[str, typer.Option(help="How many, evenly spread, or which: 0,2,4.")],
    task: Annotated[str, typer.Option(help="classification or generation, for a base model.")] = "classification",
    home: common.HomeOption = None,
    json: common.JsonOption = False,
) -> None:
    """Write some layers of a model as a base model, to start from where a teacher is to be distilled (`kd`)."""
    with common.guarded(json):
        place = common.enter(home)
        from holdfast import student as students
        from holdfast.registry import start as starts
        from holdfast.spec import StartSpec

        found = starts.resolve(StartSpec(model=model), place, _task(task))
        taken = students.make(found, _layers(layers), place, directory)
        if json:
            common.print_json({"folder": str(directory), "layers": taken})
        else:
            typer.echo(f"wrote layers {', '.join(map(str, taken))} to {directory}")


def _layers(text: str) -> int | list[int]:
    from holdfast.errors import BadInput

    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise BadInput(f"cannot read `{text}`", key="--layers", expected="a number, or several with commas") from error
    return numbers if "," in text else numbers[0]


def _task(text: str) -> "Task":
    from typing import get_args

    from holdfast.errors import BadInput
    from holdfast.spec import Task

    for known in get_args(Task):
        if text == known:
            task: Task = known
            return task
    raise BadInput(f"no task `{text}`", key="--task", expected=" or ".join(get_args(Task)))
