"""`holdfast methods`: the presets, and which choices go together."""

from collections import defaultdict
from typing import Any

import typer

from flows.cli import common


def methods(json: common.JsonOption = False) -> None:
    """List the named methods, and for every pair of choices whether a pipeline file may combine them."""
    with common.guarded(json):
        from holdfast import methods as named
        from holdfast import support

        presets = {name: named.preset(name) for name in named.PRESETS}
        pairs, needs = support.pairs(), support.needs_old_data()
        if json:
            common.print_json(
                {
                    "presets": presets,
                    "choices": [str(choice) for choice in support.every()],
                    "needs_old_data": {str(choice): reason for choice, reason in needs.items()},
                    "runs_once": {str(choice): said for choice, said in support.below().items()},
                    "pairs": [
                        {"pair": [str(one), str(other)], "works": reason is None, "reason": reason}
                        for (one, other), reason in pairs.items()
                    ],
                }
            )
            return
        axes = list(named.preset(None))
        rows = [[name, *(_said(preset[axis]) for axis in axes)] for name, preset in presets.items()]
        common.print_table(["method", *axes], rows)
        typer.echo("\nPairs of choices: + works, - is refused")
        _print_matrix(support.every(), pairs)
        typer.echo("\nRefused, because")
        for reason, refused in _by_reason(pairs).items():
            typer.echo(f"- {reason}:\n    {refused}")
        typer.echo("\nWithout the `train` dataset of a remembered task")
        for choice, reason in needs.items():
            typer.echo(f"- {choice}: {reason}")
        typer.echo("\nLayers that are run once, and not in every epoch (training.prefix_cache)")
        for choice, said in support.below().items():
            typer.echo(f"- {choice}: {said}")


def _said(value: Any) -> str:
    return value if isinstance(value, str) else ", ".join(value) or "-"


def _print_matrix(every: list[Any], pairs: dict[Any, str | None]) -> None:
    """Print a row of marks per choice; a column is the choice of that number."""
    width, numbers = max(len(str(choice)) for choice in every), range(1, len(every) + 1)
    for digits in ([n // 10 or " " for n in numbers], [n % 10 for n in numbers]):
        typer.echo(" " * (width + 4) + "".join(map(str, digits)))
    refused = {frozenset(pair) for pair, reason in pairs.items() if reason}
    for number, one in zip(numbers, every, strict=True):
        marks = [" " if one == other else "-" if {one, other} in refused else "+" for other in every]
        typer.echo(f"{number:>2} {one!s:<{width}} {''.join(marks)}")


def _by_reason(pairs: dict[Any, str | None]) -> dict[str, str]:
    """Return {reason: the pairs that it refuses}, in short where that is every pair of one key."""
    found: dict[str, list[Any]] = defaultdict(list)
    for pair, reason in pairs.items():
        if reason:
            found[reason].append(pair)
    short = {}
    for reason, refused in found.items():
        keys = {choice.key for pair in refused for choice in pair}
        whole = [pair for pair in pairs if {choice.key for choice in pair} == keys]
        alike = len(keys) == 1 and refused == whole
        short[reason] = f"any two of {keys.pop()}" if alike else "; ".join(f"{a} with {b}" for a, b in refused)
    return short
