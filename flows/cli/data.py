"""The registered datasets: list them, fetch them."""

from typing import Annotated

import typer

from flows.cli import common

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_(home: common.HomeOption = None, json: common.JsonOption = False) -> None:
    """List the registered datasets: name, licence, and whether they are at hand."""
    with common.guarded(json):
        place = common.enter(home)
        from holdfast.versioning import registry

        found = registry.listing(place)
        if json:
            common.print_json({"datasets": found})
            return
        columns = list(found[0])
        common.print_table(columns, [[entry[column] for column in columns] for entry in found])


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A registered dataset, such as nusax/javanese/train.")],
    home: common.HomeOption = None,
    json: common.JsonOption = False,
) -> None:
    """Find or download a registered dataset and verify its digest."""
    with common.guarded(json):
        place = common.enter(home)
        from holdfast.versioning import registry

        files = [str(path) for path in registry.fetch(name, place)]
        if json:
            common.print_json({"name": name, "files": files})
        else:
            typer.echo("\n".join(files))
