"""`holdfast promote` and `holdfast rollback`: change the champion by hand, with a reason on record."""

from typing import Annotated, Any

import typer

from flows.cli import common

NameArgument = Annotated[str, typer.Argument(help="A registered name.")]
WhyOption = Annotated[str, typer.Option("--why", help="The reason, kept in the ledger.")]


def promote(
    name: NameArgument,
    version: Annotated[str, typer.Argument(help="The version's number.")],
    why: WhyOption,
    home: common.HomeOption = None,
    json: common.JsonOption = False,
) -> None:
    """Make VERSION the champion of NAME by hand."""
    with common.guarded(json):
        place = common.enter(home)
        from holdfast.registry import promote as registry

        _show(name, registry.promote(name, version, why, place), json)


def rollback(
    name: NameArgument, why: WhyOption, home: common.HomeOption = None, json: common.JsonOption = False
) -> None:
    """Give NAME its previous champion back; one more generation in the ledger."""
    with common.guarded(json):
        place = common.enter(home)
        from holdfast.registry import promote as registry

        _show(name, registry.rollback(name, why, place), json)


def _show(name: str, entry: Any, as_json: bool) -> None:
    if as_json:
        common.print_json({"name": name, "version": str(entry.version), "generation": entry.generation})
    else:
        typer.echo(f"champion of {name}: version {entry.version} (generation {entry.generation})")
