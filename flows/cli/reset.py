"""`holdfast reset`: remove this home and nothing else, or only what comparisons keep in it."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli import common


def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it only what would go is named.")] = False,
    comparisons: Annotated[
        bool, typer.Option("--comparisons", help="Only what comparisons keep to go on with: no version, no ledger.")
    ] = False,
    home: common.HomeOption = None,
    json: common.JsonOption = False,
) -> None:
    """Remove the home: its data, artifacts, versions and ledger; or what its comparisons keep."""
    with common.guarded(json):
        from holdfast import home as homes
        from holdfast.comparison import kept
        from holdfast.errors import BadInput

        path = homes.locate(home)
        if not homes.is_home(path):
            raise BadInput("is no Holdfast home, so nothing was removed", file=path)
        what: dict[str, object] = {"home": str(path), "removed": yes}
        said = str(path)
        if comparisons:
            found = homes.make(path)
            what["records"] = kept.remove(found, days=0) if yes else len(kept.records(found))
            said = f"{what['records']} records of comparisons, and what only they name, from {path}"
        else:
            _check_nothing_runs(path)
            others = homes.remove(path) if yes else homes.others_within(path)
            what["left"] = [str(other) for other in others]
            said += "".join(f", but not the home {other} in it" for other in others)
        if json:
            common.print_json(what)
        else:
            typer.echo(f"removed {said}" if yes else f"would remove {said}; add --yes to do it")


def _check_nothing_runs(path: Path) -> None:
    from holdfast import services
    from holdfast.errors import BadInput
    from holdfast.home import Home

    running = services.read(Home(path))
    if running is not None and services.found(running):
        raise BadInput("servers of this home are running", file=path, remedy="`holdfast down` stops them.")
