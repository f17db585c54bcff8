"""`holdfast reset`: remove this home and nothing else."""

import shutil
from typing import Annotated

import typer

from flows.cli import common


def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it only what would go is named.")] = False,
    home: common.HomeOption = None,
    json: common.JsonOption = False,
) -> None:
    """Remove the home: its data, artifacts, versions and ledger."""
    with common.guarded(json):
        from holdfast import home as homes
        from holdfast import services
        from holdfast.errors import BadInput
        from holdfast.home import Home

        path = homes.locate(home)
        if not homes.is_home(path):
            raise BadInput("is no Holdfast home, so nothing was removed", file=path)
        running = services.read(Home(path))
        if running is not None and services.found(running):
            raise BadInput("servers of this home are running", file=path, remedy="`holdfast down` stops them.")
        if yes:
            shutil.rmtree(path)
        if json:
            common.print_json({"home": str(path), "removed": yes})
        else:
            typer.echo(f"removed {path}" if yes else f"would remove {path}; add --yes to do it")
