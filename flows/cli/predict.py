"""`holdfast predict`: a version's predictions for a file of texts."""

from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli import common

_AT_ONCE = 1024


def predict(
    version: Annotated[str, typer.Argument(help="NAME@champion or NAME/3.")],
    input_: Annotated[Path, typer.Argument(metavar="INPUT", help="CSV, TSV, JSONL or Parquet with a column of texts.")],
    output: Annotated[Path, typer.Argument(help="Where to write INPUT's rows with prediction and probabilities.")],
    text: Annotated[str, typer.Option(help="The column of texts.")] = "text",
    head: Annotated[
        str | None, typer.Option(help="Which head answers; else the one that the version was tuned for.")
    ] = None,
    home: common.HomeOption = None,
    json: common.JsonOption = False,
) -> None:
    """Predict INPUT with a version; write OUTPUT."""
    with common.guarded(json):
        place = common.enter(home)
        from flows.cli import bars
        from holdfast import models, predictions, progress, tables
        from holdfast.registry import versions as registry

        rows = tables.read(input_)
        found = common.version_of(version)
        model = models.load(registry.fetch(*found, place), place)
        method = registry.show(*found, place)["lineage"]["method"]
        model.use_head(head or method["head"])
        reading = predictions.Reading(text, method["training"]["max_length"], method["training"]["precision"])
        with bars.plain_lines() if json else bars.best():
            out: list[dict[str, Any]] = []
            for first in range(0, len(rows), _AT_ONCE):
                out += predictions.predict(model, rows[first : first + _AT_ONCE], reading, input_, first)
                progress.report("predict", len(out), len(rows))
        tables.write(output, out)
        if json:
            common.print_json({"output": str(output), "rows": len(out), "version": version})
        else:
            typer.echo(f"wrote {len(out)} rows to {output}")
