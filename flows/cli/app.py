"""The `holdfast` command: its commands, and what an error looks like and exits with."""

import atexit
import contextlib
import os
import sys
from typing import Any

import typer

from flows.cli import (
    backtest,
    check,
    common,
    compare,
    data,
    export,
    init,
    label,
    merge,
    methods,
    monitor,
    predict,
    promote,
    reset,
    run,
    show,
    student,
    up,
    versions,
)

app = typer.Typer(
    name="holdfast",
    help="Adapt language models to new data without making them forget, and keep them adapted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command()(init.init)
app.command()(check.check)
app.command()(run.run)
app.command()(compare.compare)
app.command()(versions.versions)
app.command()(show.show)
app.command()(methods.methods)
app.command()(predict.predict)
app.command()(label.label)
app.command()(monitor.monitor)
app.command()(monitor.decisions)
app.command()(up.up)
app.command()(up.status)
app.command()(up.down)
app.command()(backtest.backtest)
app.command()(export.export)
app.command()(merge.merge)
app.command()(student.student)
app.command()(promote.promote)
app.command()(promote.rollback)
app.add_typer(data.app, name="data", help=data.__doc__)
app.command()(reset.reset)


def main() -> None:
    """Run the command line and leave at once: freeing what torch and others hold, piece by piece, takes seconds."""
    code = execute(sys.argv[1:])
    atexit._run_exitfuncs()
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def execute(args: list[str]) -> int:
    """Run one command and return its exit code; a command line that cannot be read is told in JSON too, if asked."""
    try:
        return int(app(args, standalone_mode=False) or 0)
    except typer.TyperException as error:
        wrong: Any = error
        wrong.show()
        if "--json" in args:
            common.print_json({"error": wrong.format_message(), "kind": "BadInput"})
        return int(wrong.exit_code)
    except (typer.Abort, BrokenPipeError):
        return 1
