"""`holdfast compare`: methods side by side on one pipeline file, each at the best rate of a grid, over seeds."""

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.cli import common
from flows.cli.run import SetOption


def compare(
    file: Annotated[Path, typer.Argument(help="The pipeline file: its data, contract and training are every arm's.")],
    methods: Annotated[str, typer.Option(help="Presets, `file` for the file's own, or `name:key=value+key=value`.")],
    seeds: Annotated[int, typer.Option(help="How many seeds, from the file's on.", min=1)] = 5,
    rates: Annotated[str, typer.Option(help="The grid of learning rates, times the file's.")] = "0.3,1,3",
    no_baselines: Annotated[bool, typer.Option("--no-baselines", help="Compare the named methods alone.")] = False,
    out: Annotated[Path | None, typer.Option(help="Where to write; else below the home.")] = None,
    jobs: Annotated[int, typer.Option(help="Tunings at a time; above 1 each has one thread.", min=1)] = 1,
    set_: SetOption = None,
    home: common.HomeOption = None,
    json: common.JsonOption = False,
) -> None:
    """Tune every method at every rate and seed on FILE; show what each gained and lost. Goes on where it stopped."""
    with common.guarded(json):
        place = common.enter(home)
        from flows import compare as flow
        from flows.cli import bars
        from holdfast import faults, spec
        from holdfast.comparison import table

        faults.check_room(place.path)
        settings = flow.Settings(methods, seeds, _grid(rates), not no_baselines, tuple(set_ or ()), jobs)
        target = out or place.path / "comparisons" / spec.load(file, set_).name
        with bars.rich_bars() if sys.stderr.isatty() and not json else contextlib.nullcontext():
            document = flow.compare(file, settings, place, target, announce=_announce)
        if json:
            common.print_json({**document, "out": str(target)})
            return
        common.print_table(table.columns(document), table.rows(document))
        for line in [*table.sentences(document), f"written to {target}"]:
            typer.echo(line)


def _grid(text: str) -> tuple[float, ...]:
    from holdfast.errors import BadInput

    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise BadInput(f"cannot read the rates {text!r}", key="--rates", expected="numbers such as 0.3,1,3") from error


def _announce(line: str) -> None:
    typer.echo(line, err=True)
