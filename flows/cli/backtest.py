"""`holdfast backtest`: a dated stream through the real loop in virtual time, under several policies side by side."""

import os
from pathlib import Path
from typing import Annotated

import typer

from flows.cli import common
from flows.cli.run import SetOption


def backtest(
    file: Annotated[Path, typer.Argument(help="The pipeline file: it makes the first champion and says how to watch.")],
    stream: Annotated[str, typer.Option(help="A registered dataset or a file: rows with text, label and time.")],
    from_: Annotated[str | None, typer.Option("--from", help="The first day (or moment) to replay.")] = None,
    to: Annotated[str | None, typer.Option(help="The day (or moment) before which to stop.")] = None,
    policies: Annotated[str, typer.Option(help="Which to compare.")] = "never,always,calendar,holdfast",
    every: Annotated[
        str | None, typer.Option(help="The calendar's, such as 7d; else the file's, else a quarter of the time.")
    ] = None,
    label_delay: Annotated[str | None, typer.Option(help="How long after its window a label comes, as 3d.")] = None,
    seed: Annotated[int | None, typer.Option(help="The seed of tuning and watching, else the file's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write; else below the home.")] = None,
    set_: SetOption = None,
    home: common.HomeOption = None,
    json: common.JsonOption = False,
) -> None:
    """Replay a dated stream under several policies: a timeline, a table, JSON. Goes on where it stopped."""
    with common.guarded(json):
        from holdfast import faults
        from holdfast import home as homes
        from holdfast.backtest import policies as known
        from holdfast.backtest import settings as given

        hours, delay = _hours(every, "--every"), _hours(label_delay, "--label-delay")
        settings = given.Settings(
            stream, from_, to, known.parse(policies), hours, delay or 0.0, seed, tuple(set_ or ())
        )  # fmt: skip
        own = given.own_home(file, settings, homes.find(home))
        for shared in given.SHARED:  # what production shares is none of a backtest's
            os.environ.pop(shared, None)
        place = common.enter(own.path)
        from flows import backtest as flow
        from flows.cli import bars
        from holdfast.backtest import summary

        faults.check_room(place.path)
        target = out or place.path / "out"
        with bars.plain_lines() if json else bars.best():
            document = flow.backtest(file, settings, place, target, announce=_announce)
        if json:
            common.print_json({**document, "out": str(target)})
            return
        common.print_table(list(summary.COLUMNS), summary.rows(document), title=document["pipeline"])
        typer.echo(f"timeline: {target}/timeline.png, numbers: {target}/backtest.json")


def _hours(text: str | None, key: str) -> float | None:
    """Return a span of time in hours; raises `BadInput` for what is none."""
    from pydantic import TypeAdapter, ValidationError

    from holdfast.drift.settings import Hours
    from holdfast.errors import BadInput

    if text is None:
        return None
    try:
        return float(TypeAdapter(Hours).validate_python(float(text) if _number(text) else text))
    except ValidationError as error:
        raise BadInput(
            f"cannot read the span of time {text!r:.40}", key=key, expected="such as 90m, 24h or 3d"
        ) from error


def _number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()


def _announce(line: str) -> None:
    typer.echo(line, err=True)
