"""`holdfast versions`: what is registered under a name."""

from typing import Annotated

import typer

from flows.cli import common


def versions(
    name: Annotated[str, typer.Argument(help="A registered name.")],
    home: common.HomeOption = None,
    json: common.JsonOption = False,
) -> None:
    """List the versions registered under NAME, and which is champion."""
    with common.guarded(json):
        place = common.enter(home)
        from holdfast.registry import versions as registry

        found = registry.list(name, place)
        if json:
            common.print_json({"name": name, "versions": found})
            return
        columns = list(found[0]) if found else ["version"]
        common.print_table(columns, [[entry[column] for column in columns] for entry in found], title=name)
