"""The `holdfast` command: its commands, and what an error looks like and exits with."""

import atexit
import os
import sys

import typer

from flows.cli import check, data, export, init, predict, promote, reset, run, show, versions

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
app.command()(versions.versions)
app.command()(show.show)
app.command()(predict.predict)
app.command()(export.export)
app.command()(promote.promote)
app.command()(promote.rollback)
app.add_typer(data.app, name="data", help=data.__doc__)
app.command()(reset.reset)


def main() -> None:
    """Run the command line and leave at once: freeing what torch and others hold, piece by piece, takes seconds."""
    code: int | str | None = 0
    try:
        app()
    except SystemExit as end:
        code = end.code
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))
