"""`holdfast run`: one file in, one judged version out."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli import common

SetOption = Annotated[list[str] | None, typer.Option("--set", help="Override a key of the file: dotted.key=value.")]


def run(
    file: Annotated[Path, typer.Argument(help="The pipeline file.")],
    set_: SetOption = None,
    home: common.HomeOption = None,
    json: common.JsonOption = False,
) -> None:
    """Adapt a model as FILE says. Exit 0: promoted; 3: registered but refused; 2: bad input; 1: failed."""
    with common.guarded(json):
        place = common.enter(home)
        from flows import chain
        from flows.cli import bars
        from holdfast import faults

        faults.check_room(place.path)

        with bars.plain_lines() if json else bars.best():
            result = chain.run(file, set_ or [], place, announce=_announce)
        show(result, json)
        raise typer.Exit(0 if result.verdict == "promoted" else 3)


def _announce(line: str) -> None:
    typer.echo(line, err=True)


def show(result: Any, as_json: bool) -> None:
    """Print the result of a run."""
    from holdfast import report

    if as_json:
        common.print_json(result.model_dump(mode="json"))
    elif sys.stdout.isatty():
        from rich.console import Console

        Console().print(report.summary_table(result))
    else:
        for line in report.summary_lines(result):
            typer.echo(line)
