"""`holdfast show`: one version's whole lineage and scores."""

from typing import Annotated, Any

import typer

from flows.cli import common


def show(
    version: Annotated[str, typer.Argument(help="NAME@champion or NAME/3.")],
    home: common.HomeOption = None,
    json: common.JsonOption = False,
) -> None:
    """Show a version's lineage, scores, history and report."""
    with common.guarded(json):
        place = common.enter(home)
        from holdfast.registry import versions as registry

        found = registry.show(*common.version_of(version), place)
        if json:
            common.print_json(found)
        else:
            for line in lines(found):
                typer.echo(line)


def lines(value: Any, indent: int = 0) -> list[str]:
    """Return nested mappings and lists as indented lines, one leaf a line."""
    pad = "  " * indent
    if isinstance(value, dict):
        return [line for key, item in value.items() for line in _entry(f"{pad}{key}:", item, indent)]
    if isinstance(value, list):
        return [line for item in value for line in _entry(f"{pad}-", item, indent)]
    return [f"{pad}{value}"]


def _entry(head: str, item: Any, indent: int) -> list[str]:
    if isinstance(item, dict | list) and item:
        return [head, *lines(item, indent + 1)]
    return [f"{head} {'' if isinstance(item, dict | list) else item}".rstrip()]
