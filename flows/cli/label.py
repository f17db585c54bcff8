"""`holdfast label`: the true labels of logged predictions, which come later."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli import common


def label(
    name: Annotated[str, typer.Argument(help="A registered name.")],
    file: Annotated[Path, typer.Argument(help="CSV, TSV, JSONL or Parquet with the columns id and label.")],
    id_: Annotated[str, typer.Option("--id", help="The column of ids.")] = "id",
    label_: Annotated[str, typer.Option("--label", help="The column of labels.")] = "label",
    home: common.HomeOption = None,
    json: common.JsonOption = False,
) -> None:
    """Join the labels in FILE to the prediction log of NAME by id."""
    with common.guarded(json):
        place = common.enter(home)
        from holdfast.drift import log

        found = log.label(place, name, file, id_, label_)
        if json:
            common.print_json({"name": name, **found.model_dump(mode="json")})
            return
        again = "; the very file was there already" if found.repeated else ""
        typer.echo(f"{found.known} of {found.rows} ids are in the log, {found.corrected} labels corrected{again}")
        if found.unknown:
            typer.echo(f"{found.unknown} ids are unknown, the first is {found.first_unknown!r}", err=True)
