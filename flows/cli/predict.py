"""`holdfast predict`: a version's predictions for a file of texts, or its answers to a file of prompts."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli import common

_AT_ONCE = 1024


def predict(
    version: Annotated[str, typer.Argument(help="NAME@champion or NAME/3.")],
    input_: Annotated[Path, typer.Argument(metavar="INPUT", help="CSV, TSV, JSONL or Parquet with a column of texts.")],
    output: Annotated[Path, typer.Argument(help="Where to write INPUT's rows with predictions or answers.")],
    text: Annotated[str | None, typer.Option(help="The column of texts (prompts); else `text` (`prompt`).")] = None,
    head: Annotated[
        str | None, typer.Option(help="Which head answers; else the one that the version was tuned for.")
    ] = None,
    log_: Annotated[bool, typer.Option("--log", help="Add the predictions to the log that `monitor` reads.")] = False,
    home: common.HomeOption = None,
    json: common.JsonOption = False,
) -> None:
    """Predict INPUT with a version; write OUTPUT."""
    with common.guarded(json):
        place = common.enter(home)
        from flows.cli import bars
        from holdfast import models, predictions, progress, tables
        from holdfast.drift import log
        from holdfast.errors import BadInput
        from holdfast.registry import versions as registry

        rows = tables.read(input_)
        found = common.version_of(version)
        start = registry.fetch(*found, place)
        model = models.load(start, place)
        if log_ and model.generates:
            raise BadInput("answers of a decoder are not logged", key="--log", expected="a version that classifies")
        method = registry.show(*found, place)["lineage"]["method"]
        if not model.generates:
            model.use_head(head or method["head"])
        column = text or ("prompt" if model.generates else "text")
        reading = predictions.Reading(column, method["training"]["max_length"], method["training"]["precision"])
        given = partial(predictions.answer, most=method["max_new_tokens"]) if model.generates else predictions.predict
        with bars.plain_lines() if json else bars.best():
            out: list[dict[str, Any]] = []
            for first in range(0, len(rows), _AT_ONCE):
                out += given(model, rows[first : first + _AT_ONCE], reading, input_, first)
                progress.report("predict", len(out), len(rows))
        tables.write(output, out)
        if log_:
            log.append(place, found[0], str(start.version), out, column)
        if json:
            common.print_json({"output": str(output), "rows": len(out), "version": version})
        else:
            typer.echo(f"wrote {len(out)} rows to {output}")
