"""What every command shares: options, the home's environment, output as text or as one JSON object, errors."""

import contextlib
import json
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast import faults, services
from holdfast import home as homes
from holdfast.errors import BadInput, HoldfastError
from holdfast.home import Home

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Where state lives; else HOLDFAST_HOME, else the nearest .holdfast/.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout; logs go to stderr.")]


def enter(home: Path | None) -> Home:
    """Return the home and put its environment in place, before Prefect, MLflow, DVC or GX are imported."""
    found = homes.find(home)
    os.environ.update(homes.environment(found))
    use_server(found)
    quiet()
    return found


def use_server(home: Home) -> None:
    """Have Prefect use the server of this home's `holdfast up`, unless the user names one or it is not up."""
    address = None if os.environ.get("PREFECT_API_URL") else services.address(home)
    if address is not None:
        os.environ["PREFECT_API_URL"] = f"{address}/api"


def quiet() -> None:
    """Turn down what libraries say on their own; HOLDFAST_LOG (say DEBUG) turns it up again."""
    level = os.environ.get("HOLDFAST_LOG", "CRITICAL").upper()
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", level)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error" if level == "CRITICAL" else "info")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # Torch's threads sleep while they wait: spinning, two of them on a core that is taken were seen to be 10x slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if level == "CRITICAL":
        warnings.filterwarnings("ignore")
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        logging.getLogger("alembic").setLevel(logging.ERROR)


@contextlib.contextmanager
def guarded(as_json: bool) -> Iterator[None]:
    """Turn our errors into one line (or one JSON object) and an exit code; in JSON mode keep stdout for the result."""
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        try:
            yield
        except HoldfastError as error:
            fail(_explained(error), as_json)
        except KeyboardInterrupt:
            fail(
                HoldfastError("interrupted; run the same command again to go on from the last finished stage"), as_json
            )
        except (typer.Exit, typer.Abort, typer.TyperException, BrokenPipeError):
            raise
        except Exception as error:
            fail(_explained(error), as_json)


def _explained(error: Exception) -> HoldfastError:
    """Return what to tell of an error that is not ours: a fault of the machine, else a defect, with its traceback."""
    named = os.environ.get("HOLDFAST_HOME")
    known = faults.told(error, Path(named) if named else None)
    if known is not None:
        return known
    traceback.print_exception(error, file=sys.stderr)
    return HoldfastError(f"unexpected {type(error).__name__}: {error}. Please report it with the lines above it")


def fail(error: HoldfastError, as_json: bool) -> None:
    """Print an error and exit with its code."""
    kind = "bad input" if isinstance(error, BadInput) else "failed"
    typer.echo(f"{kind}: {error}", err=True)
    if as_json:
        print_json({"error": str(error), "kind": type(error).__name__})
    raise typer.Exit(error.exit_code)


def print_json(value: Any) -> None:
    """Print one JSON object on the real stdout."""
    sys.__stdout__.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]


def print_table(columns: list[str], rows: list[list[Any]], title: str | None = None) -> None:
    """Print a table: with borders on a terminal, tab-separated lines otherwise."""
    if not sys.stdout.isatty():
        for row in [columns, *rows]:
            typer.echo("\t".join(str(cell) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    Console().print(table)


def version_of(reference: str) -> tuple[str, str]:
    """Return (name, alias or version number) of `NAME@champion`, `NAME/3` or `NAME`; the bare name means champion."""
    reference = reference.removeprefix("models:/")
    for separator in ("@", "/"):
        name, found, which = reference.rpartition(separator)
        if found and name and which:
            return name, which
    if not reference:
        raise BadInput("names no version", expected="NAME@champion or NAME/3")
    return reference, "champion"
