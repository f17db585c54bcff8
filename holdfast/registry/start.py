"""The start model of a run: a base model, or a registered version of one."""

from holdfast import adapters, bases
from holdfast.errors import BadInput
from holdfast.home import Home
from holdfast.records import Start
from holdfast.registry import versions
from holdfast.spec import Pipeline, StartSpec, Task


def resolve(start: StartSpec, home: Home, task: Task = "classification", tuned: bool = True) -> Start:
    """Return the start model: a base's name, a folder, a hub id, `models:/NAME@champion` or `models:/NAME/3`.

    An alias becomes a version and a digest here; `tuned` says that it is to be tuned. Raises `BadInput` when it is for
    another `task`, when it cannot be tuned, or cannot be found, naming the nearest registered name and, where the file
    says what makes it (`made_by`), the command to run.
    """
    if not start.model.startswith(versions.SCHEME):
        return Start(model=start.model, base=bases.resolve(start.model, start.revision), task=task)
    try:
        found = _for(task, versions.fetch(*versions.parse(start.model), home))
        return _tunable(found, home) if tuned else found
    except BadInput as error:
        made_by = f"Run `holdfast run {start.made_by}` first, which makes it." if start.made_by else None
        remedy = " ".join(part for part in (error.remedy, made_by) if part) or None
        raise BadInput(error.what, key="start.model", expected=error.expected, remedy=remedy) from error


def _for(task: Task, found: Start) -> Start:
    if found.task != task:
        what = f"{found.model} was made for {found.task}, and the pipeline's task is {task}"
        raise BadInput(what, key="start.model", expected=f"a version made for {task}")
    return found


def _tunable(found: Start, home: Home) -> Start:
    kind = adapters.stays_beside(home.store.open(found.adapter)) if found.adapter else None
    if kind is not None:
        what = f"{found.model} cannot be tuned further: what {kind.peft_type} added stays beside its weights"
        raise BadInput(
            what, expected="a version whose changes can be merged", remedy="Start from what it started from."
        )
    return found


def teacher(pipeline: Pipeline, home: Home) -> Start | None:
    """Return the teacher that the objective names, found like a start model, or None; raises `BadInput` likewise."""
    for name, options in pipeline.objective.items():
        if options.get("teacher") is not None:
            try:
                return resolve(StartSpec(model=options["teacher"]), home, pipeline.task, tuned=False)
            except BadInput as error:
                key = f"objective.{name}.teacher"
                raise BadInput(error.what, key=key, expected=error.expected, remedy=error.remedy) from error
    return None
