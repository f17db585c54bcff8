"""`holdfast methods`: the presets, and which choices go together, in which task."""

from collections import defaultdict
from typing import Any

import typer

from flows.cli import common

_MARKS = {("classification",): "c", ("generation",): "g", (): "-"}  # of the tasks that accept; "+" for all of them


def methods(json: common.JsonOption = False) -> None:
    """List the named methods, and for every pair of choices whether a pipeline file may combine them, in which task."""
    with common.guarded(json):
        from holdfast import methods as named
        from holdfast import support

        presets = {name: named.preset(name) for name in named.PRESETS}
        pairs, needs, alone = support.pairs(), support.needs_old_data(), support.alone()
        if json:
            common.print_json({"presets": presets, **_document(alone, needs, support.below(), pairs)})
            return
        axes = list(named.preset(None))
        rows = [[name, *(_said(preset[axis]) for axis in axes)] for name, preset in presets.items()]
        common.print_table(["method", *axes], rows)
        typer.echo("\nPairs of choices: + works, c in classification alone, g in generation alone, - is refused")
        _print_matrix(list(alone), pairs)
        elsewhere = {f"{c}, in {task}": why for c, said in alone.items() for task, why in said.items() if why}
        _print_list("Not in every task", elsewhere)
        typer.echo("\nRefused, because")
        for reason, refused in _by_reason(pairs).items():
            typer.echo(f"- {reason}:\n    {refused}")
        _print_list("Without the `train` dataset of a remembered task", needs)
        _print_list("Layers that are run once, and not in every epoch (training.prefix_cache)", support.below())


def _document(
    alone: dict[Any, Any], needs: dict[Any, str], below: dict[Any, str], pairs: dict[Any, Any]
) -> dict[str, Any]:
    """Return what is said of choices and pairs as JSON-able values."""
    return {
        "choices": [str(choice) for choice in alone],
        "tasks": {str(choice): [task for task in said if not said[task]] for choice, said in alone.items()},
        "needs_old_data": {str(choice): reason for choice, reason in needs.items()},
        "runs_once": {str(choice): said for choice, said in below.items()},
        "pairs": [
            {"pair": [str(one), str(other)], "works": bool(said.tasks), "tasks": said.tasks, "reason": said.reason}
            for (one, other), said in pairs.items()
        ],
    }


def _print_list(title: str, found: dict[Any, str]) -> None:
    typer.echo(f"\n{title}")
    for name, said in found.items():
        typer.echo(f"- {name}: {said}")


def _said(value: Any) -> str:
    return value if isinstance(value, str) else ", ".join(value) or "-"


def _print_matrix(every: list[Any], pairs: dict[Any, Any]) -> None:
    """Print a row of marks per choice; a column is the choice of that number."""
    width, numbers = max(len(str(choice)) for choice in every), range(1, len(every) + 1)
    for digits in ([n // 10 or " " for n in numbers], [n % 10 for n in numbers]):
        typer.echo(" " * (width + 4) + "".join(map(str, digits)))
    marks = {frozenset(pair): _MARKS.get(said.tasks, "+") for pair, said in pairs.items()}
    for number, one in zip(numbers, every, strict=True):
        row = "".join(marks.get(frozenset((one, other)), " ") for other in every)
        typer.echo(f"{number:>2} {one!s:<{width}} {row}")


def _by_reason(pairs: dict[Any, Any]) -> dict[str, str]:
    """Return {reason: the pairs that it refuses}, in short where that is every pair of one key."""
    found: dict[str, list[Any]] = defaultdict(list)
    for pair, said in pairs.items():
        if said.reason:
            found[said.reason].append(pair)
    short = {}
    for reason, refused in found.items():
        keys = {choice.key for pair in refused for choice in pair}
        whole = [pair for pair in pairs if {choice.key for choice in pair} == keys]
        alike = len(keys) == 1 and refused == whole
        short[reason] = f"any two of {keys.pop()}" if alike else "; ".join(f"{a} with {b}" for a, b in refused)
    return short
