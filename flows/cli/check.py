"""`holdfast check`: read a pipeline file and its data; train nothing."""

from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli import common
from flows.cli.run import SetOption


def check(
    file: Annotated[Path, typer.Argument(help="The pipeline file.")],
    set_: SetOption = None,
    home: common.HomeOption = None,
    json: common.JsonOption = False,
) -> None:
    """Read FILE and its data, validate both, train nothing."""
    with common.guarded(json):
        place = common.enter(home)
        from holdfast import spec
        from holdfast.registry import start
        from holdfast.validation import validate
        from holdfast.versioning import prepare

        pipeline = spec.load(file, set_)
        if pipeline.merge is not None:
            from flows import merge

            merge.prepared(pipeline, merge.versions_of(pipeline, place), place)
        datasets = prepare.prepare(pipeline.learn, pipeline.remember, pipeline.training.seed, place)
        model = start.resolve(pipeline.start, place, pipeline.task)
        start.teacher(pipeline, place)
        found = validate.validate(
            datasets, model, pipeline.learn, pipeline.remember, pipeline.training.max_length, place
        )
        _show(pipeline.name, found, json)


def _show(name: str, found: Any, as_json: bool) -> None:
    if as_json:
        common.print_json({"pipeline": name, **found.model_dump(mode="json")})
        return
    rows = [[key, version.rows, ", ".join(version.labels), version.ref] for key, version in found.datasets.items()]
    common.print_table(["dataset", "rows", "labels", "from"], rows)
    failed = [e for e in found.expectations if not e.success]
    for e in failed:
        first = f", the first is {e.example}" if e.example else ""
        typer.echo(f"{e.severity}: {e.dataset}: {e.expectation}: {e.unexpected} rows{first}")
    typer.echo(f"{name}: good; {found.quarantined} rows would be set aside")
