"""`holdfast export`: a version as a plain folder."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli import common


def export(
    version: Annotated[str, typer.Argument(help="NAME@champion or NAME/3.")],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="An empty or new folder.")],
    merged: Annotated[bool, typer.Option("--merged", help="A whole transformers model instead of an adapter.")] = False,
    head: Annotated[str | None, typer.Option(help="Which head a merged model gets, where there are several.")] = None,
    home: common.HomeOption = None,
    json: common.JsonOption = False,
) -> None:
    """Write a version as a plain folder: an adapter for PEFT, or with --merged a model for transformers alone."""
    with common.guarded(json):
        place = common.enter(home)
        from holdfast import export as exports
        from holdfast.registry import versions as registry

        start = registry.fetch(*common.version_of(version), place)
        written = exports.export(start, place, directory, merged, head)
        if json:
            common.print_json({"folder": str(written), "merged": merged, "digest": start.digest})
        else:
            typer.echo(f"wrote {written}")
