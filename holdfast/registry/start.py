"""The start model of a run: a base model, or a registered version of one."""

from holdfast import bases
from holdfast.errors import BadInput
from holdfast.home import Home
from holdfast.records import Start
from holdfast.registry import versions
from holdfast.spec import Pipeline, StartSpec


def resolve(start: StartSpec, home: Home) -> Start:
    """Return the start model: a base's name, a folder, a hub id, `models:/NAME@champion` or `models:/NAME/3`.

    An alias becomes a version and a digest here. Raises `BadInput` when it cannot be found, naming the nearest
    registered name and, where the file says what makes it (`made_by`), the command to run.
    """
    if not start.model.startswith(versions.SCHEME):
        return Start(model=start.model, base=bases.resolve(start.model, start.revision))
    try:
        return versions.fetch(*versions.parse(start.model), home)
    except BadInput as error:
        made_by = f"Run `holdfast run {start.made_by}` first, which makes it." if start.made_by else None
        remedy = " ".join(part for part in (error.remedy, made_by) if part) or None
        raise BadInput(error.what, key="start.model", expected=error.expected, remedy=remedy) from error


def teacher(pipeline: Pipeline, home: Home) -> Start | None:
    """Return the teacher that the objective names, found like a start model, or None; raises `BadInput` likewise."""
    for name, options in pipeline.objective.items():
        if options.get("teacher") is not None:
            try:
                return resolve(StartSpec(model=options["teacher"]), home)
            except BadInput as error:
                key = f"objective.{name}.teacher"
                raise BadInput(error.what, key=key, expected=error.expected, remedy=error.remedy) from error
    return None
