"""The pipeline file, typed: what to start from, what to learn, what to remember, how, and when to promote.

`load(path, overrides)` reads a YAML file; unknown keys are errors that name the nearest known key. Relative dataset
paths are relative to the file. A stage is given only the sections
that it reads, and its cache key sees no others.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from holdfast import choices, compatibility, digests, methods, written
from holdfast.circuits.settings import Circuit
from holdfast.drift.settings import Monitor
from holdfast.errors import BadInput
from holdfast.merging.settings import MergeSpec


class Section(BaseModel):
    """A section of the file: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)


def _plain_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise ValueError("a name is letters, digits, dots, dashes and underscores, at most 100")
    return name


Name = Annotated[str, AfterValidator(_plain_name)]  # it becomes part of file names, tensor names and registry names
Expect = Literal[
    "no-empty-text",
    "no-duplicates",
    "no-conflicting-labels",
    "known-labels",
    "no-leak-into-test",
    "balanced-labels",
    "no-length-outliers",
]


Task = Literal["classification", "generation"]
Metric = Literal["number", "exact", "f1", "choice", "tests", "likelihood", "pairs"]


class StartSpec(Section):
    """What to start from; `made_by` is a pipeline file that makes the version where it is not registered yet."""

    model: str
    revision: str | None = None
    made_by: Path | None = None


class ColumnSpec(Section):
    """Which columns of a dataset hold the text and the label, or, for generation, the prompt and the answer.

    Only generation reads `tests` (a program's tests), `choices` (the options of a question), the `metric` by which
    answers are judged, and how many tokens an answer may have. With the metric `likelihood` only `text` is read, with
    `pairs` the columns `good` and `bad`.
    """

    text: str = "text"
    label: str = "label"
    prompt: str = "prompt"
    answer: str = "answer"
    tests: str | None = None
    choices: str | None = None
    metric: Metric | None = None
    max_new_tokens: int = Field(64, ge=1)

    @property
    def generates(self) -> bool:
        """Say whether this is a task of generation, of which every one has a metric."""
        return self.metric is not None


class Learn(ColumnSpec):
    """What to learn. Without `valid` or `test`, rows are split off `train` (10% and 20%, stratified, seeded).

    `unlabelled` is a dataset of further texts of the same domain, in the column `text`, for the `examples` that learn
    from such.
    """

    train: str
    valid: str | None = None
    test: str | None = None
    unlabelled: str | None = None
    head: Name = "label"
    expect: tuple[Expect, ...] = get_args(Expect)
    reject_at_most: float = Field(0.05, ge=0, le=1)


class Remember(ColumnSpec):
    """A task that must not be forgotten; the verdict is a non-inferiority test at `margin` and `confidence`."""

    name: Name
    train: str | None = None
    valid: str
    test: str
    head: Name | None = None
    margin: float = Field(0.05, gt=0, lt=1)
    confidence: float = Field(0.95, ge=0.5, lt=1)


class Assess(Section):
    """How importance is measured, on how many training examples of each kind, and how a circuit is found.

    In `precision` bf16 it takes about two thirds of the time and is off by about a hundredth; `auto` is that where the
    machine has it.
    `circuit` is filled in where `parameters` chooses it, and refused where it does not.
    """

    measure: Literal["fisher", "empirical-fisher", "taylor", "activation"] = "fisher"
    examples: int = Field(128, ge=2)
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    circuit: Circuit | None = None


class Training(Section):
    """The settings of the trainer. `epochs` may be a fraction; `patience` in epochs turns early stopping on.

    A batch goes through the network in `accumulate` parts, whose gradients add up to the whole batch's: less memory,
    the same update. `prefix_cache` says whether what the layers below the lowest moving one give is computed once and
    kept (`holdfast.prefix`): `auto` where it pays, `on` or it is an error, `off`. The result is the same but for
    rounding, so the setting is part of what a tuning is known by.
    With `processes` (one per device, started by `accelerate launch`) a batch is `batch` rows of each. `packing` puts a
    decoder's rows end to end instead of padding them; no row sees another. `gradient_checkpointing` computes what
    happens inside a layer again in the backward pass instead of keeping it: less memory, more time, the same numbers.
    `frozen_weights: 4bit` holds the frozen linear weights of layers in 4 bits (`holdfast.training.quantized`).
    `compile` has `torch.compile` compile the layers (`holdfast.training.compiled`): for long tunings on an accelerator.
    A `new_head` is `fitted` to the frozen layers before the first update (`holdfast.importance.probe`), or begins with
    `random` values, as a `Trainer`'s does; `docs/new-heads.md` says what either costs.
    """

    epochs: float = Field(4, gt=0)
    batch: int = Field(16, ge=1)
    accumulate: int = Field(1, ge=1)
    processes: int = Field(1, ge=1)
    learning_rate: float = Field(2e-4, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    clip: float = Field(1.0, gt=0)
    max_length: int = Field(128, ge=8)
    seed: int = Field(7, ge=0, lt=2**32)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    patience: int | None = Field(None, ge=1)
    checkpoints_per_epoch: int = Field(1, ge=1)
    prefix_cache: Literal["auto", "on", "off"] = "auto"
    packing: bool = False
    gradient_checkpointing: bool = False
    frozen_weights: Literal["whole", "4bit"] = "whole"
    compile: bool = False
    new_head: Literal["fitted", "random"] = "fitted"

    @field_validator("prefix_cache", mode="before")
    @classmethod
    def _yaml_words(cls, value: Any) -> Any:
        return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value


class Control(Section):
    """What the controller may do on `valid` so that every contract is kept; without a remembered task it does nothing.

    It looks at `looks` points along the way and tries `interpolations` (shares of the way from the start model), within
    `budget`: a share of the tuning's work, which may leave fewer of them. Where contracts broke and nothing keeps them
    with a gain, it tunes again with a stronger anchor, `attempts` tunings in all.
    """

    enabled: bool = True
    looks: int = Field(4, ge=1)
    interpolations: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = tuple(i / 8 for i in range(1, 8))
    budget: float = Field(0.3, gt=0, le=1)
    attempts: int = Field(2, ge=1, le=5)


class Gate(Section):
    """When a version is promoted: target gain above `target_gain`, not worse than the champion by `champion_margin`."""

    target_gain: float = Field(0.0, gt=-1, lt=1)
    champion_margin: float = Field(0.05, gt=0, lt=1)


class Register(Section):
    """Under which name versions are registered, where it is not the pipeline's."""

    name: Name | None = None


class Run(Section):
    """Where the model is tuned: `here`, or by a worker of the Prefect work pool of that name.

    A worker must have begun after `begin_within` minutes.
    """

    workers: Name = "here"
    begin_within: float = Field(10, gt=0)


class Recipe(Section):
    """How to tune: the file's sections that together make up what the tune stage reads."""

    examples: choices.Choices
    objective: choices.Choices
    anchors: choices.Choices
    schedule: choices.Choices
    training: Training
    head: str
    control: Control = Control()
    metric: Metric | None = None
    max_new_tokens: int = 64

    @property
    def generates(self) -> bool:
        """Say whether it tunes for generation."""
        return self.metric is not None

    @property
    def reads_importance(self) -> bool:
        """Say whether tuning itself reads what was assessed, beside what the selection took from it."""
        return "ewc" in self.anchors or _adjusts(self.schedule)


class Pipeline(Section):
    """A whole pipeline file, with defaults filled in and the method's preset spelt out on the axes."""

    name: Name
    task: Task = "classification"
    start: StartSpec
    learn: Learn
    remember: tuple[Remember, ...] = ()
    method: str | None = None
    examples: choices.Choices
    parameters: choices.Choices
    objective: choices.Choices
    anchors: choices.Choices
    schedule: choices.Choices
    assess: Assess = Assess()
    training: Training = Training()
    control: Control = Control()
    gate: Gate = Gate()
    register_: Register = Field(Register(), alias="register")
    monitor: Monitor = Monitor()
    run: Run = Run()
    merge: MergeSpec | None = None

    @property
    def registered_name(self) -> str:
        """The name under which versions are registered."""
        return self.register_.name or self.name

    @property
    def recipe(self) -> Recipe:
        """What the tune stage reads of the file."""
        return Recipe(
            examples=self.examples,
            objective=self.objective,
            anchors=self.anchors,
            schedule=self.schedule,
            training=self.training,
            head=self.learn.head,
            control=self.control,
            metric=self.learn.metric,
            max_new_tokens=self.learn.max_new_tokens,
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the resolved file."""
        return digests.of_json(self.resolved())

    def resolved(self) -> dict[str, Any]:
        """Return the whole file as JSON-able values, every default written out."""
        return self.model_dump(mode="json", by_alias=True)

    def chosen(self) -> list[tuple[choices.Axis, str]]:
        """Return every (axis, choice) of the method."""
        axes = zip(
            choices.AXES, (self.examples, self.parameters, self.objective, self.anchors, self.schedule), strict=True
        )
        return [(axis, name) for axis, chosen in axes for name in chosen]

    def needs_elementwise_importance(self) -> bool:
        """Say whether the assessment must keep one number per weight, not only sums."""
        ranked = self.parameters.get("mask", {}).get("by", "random") != "random" or "spt" in self.parameters
        weighed = _adjusts(self.schedule) and bool(_IN_PART & set(self.parameters))  # over the entries that move
        return ranked or weighed or "ewc" in self.anchors


_IN_PART = {"heads", "circuit", "mask", "diff-pruning"}  # of some tensors these have a part of the entries move


def _adjusts(schedule: choices.Choices) -> bool:
    return any(hasattr(choices.load("schedules", name), "adjust") for name in schedule)


AXIS_OF_KEY: dict[str, choices.Axis] = {
    "examples": "examples",
    "parameters": "parameters",
    "objective": "objectives",
    "anchors": "anchors",
    "schedule": "schedules",
}


def load(path: Path, overrides: list[str] | None = None) -> Pipeline:
    """Read a pipeline file; `overrides` are `dotted.key=YAML value` pairs applied before it is checked.

    Raises `BadInput` for a missing or unreadable file, an unknown key, a wrong value or a combination that cannot work.
    """
    return parse(written.changed(written.read(path), overrides or []), path)


def parse(raw: dict[str, Any], path: Path) -> Pipeline:
    """Return the typed pipeline of a mapping read from `path`: paths absolute, empty sections at their defaults."""
    try:
        values = methods.expand({key: value for key, value in raw.items() if value is not None})
        for key, axis in AXIS_OF_KEY.items():
            values[key] = choices.parse(axis, values.get(key), key)
        pipeline = Pipeline.model_validate(values)
        compatibility.check(pipeline, path)
        located = _absolute(_with_metrics(pipeline), path.resolve().parent)
    except ValidationError as error:
        raise choices.from_validation(error, "", _known_keys(error), path) from error
    except BadInput as error:
        raise BadInput(error.what, file=path, key=error.key, expected=error.expected, remedy=error.remedy) from error
    return _with_merge(_with_circuit(_uncontrolled(located)))


def _known_keys(error: ValidationError) -> list[str]:
    """Return the keys known at the place of pydantic's first complaint."""
    section: Any = Pipeline
    for part in error.errors()[0]["loc"][:-1]:
        field = section.model_fields.get(str(part)) or section.model_fields.get(f"{part}_")
        annotation = field.annotation if field else Remember
        section = next((a for a in (annotation, *get_args(annotation)) if hasattr(a, "model_fields")), Remember)
    return [field.alias or name for name, field in section.model_fields.items()]


def _with_circuit(pipeline: Pipeline) -> Pipeline:
    """Return the pipeline with the settings of a circuit written out, where one is to be found."""
    if "circuit" not in pipeline.parameters or pipeline.assess.circuit is not None:
        return pipeline
    return pipeline.model_copy(update={"assess": pipeline.assess.model_copy(update={"circuit": Circuit()})})


def _with_merge(pipeline: Pipeline) -> Pipeline:
    """Return the pipeline with the settings of a merge written out, where there is one."""
    return pipeline.model_copy(update={"merge": pipeline.merge and pipeline.merge.written_out()})


def _uncontrolled(pipeline: Pipeline) -> Pipeline:
    """Return the pipeline with the controller off where the schedule itself draws weights back."""
    if "wise" not in pipeline.schedule:
        return pipeline
    return pipeline.model_copy(update={"control": pipeline.control.model_copy(update={"enabled": False})})


def _with_metrics(pipeline: Pipeline) -> Pipeline:
    """Return a pipeline of generation with every task's metric written out, and what is expected of its data."""
    if pipeline.task != "generation":
        return pipeline
    expect = tuple(name for name in pipeline.learn.expect if name not in compatibility.LABELLED)
    metric = pipeline.learn.metric or "exact"
    learn = pipeline.learn.model_copy(update={"metric": metric, "expect": expect})
    remember = tuple(task.model_copy(update={"metric": task.metric or metric}) for task in pipeline.remember)
    return pipeline.model_copy(update={"learn": learn, "remember": remember})


def _absolute(pipeline: Pipeline, folder: Path) -> Pipeline:
    learn = pipeline.learn.model_copy(update=_absolute_datasets(pipeline.learn, folder))
    remember = tuple(task.model_copy(update=_absolute_datasets(task, folder)) for task in pipeline.remember)
    start: dict[str, Any] = {}
    if pipeline.start.made_by:
        start["made_by"] = (folder / pipeline.start.made_by.expanduser()).resolve()
    model = folder / Path(pipeline.start.model).expanduser()
    if model.is_dir():
        start["model"] = str(model.resolve())
    update: dict[str, Any] = {"learn": learn, "remember": remember, "monitor": pipeline.monitor.located(folder)}
    update["start"] = pipeline.start.model_copy(update=start)
    update["examples"] = choices.located("examples", pipeline.examples, folder)
    return pipeline.model_copy(update=update)


def _absolute_datasets(section: Learn | Remember, folder: Path) -> dict[str, str]:
    """Return the dataset references that are paths made absolute; registered names have no file suffix and stay."""
    found = {}
    for role in ("train", "valid", "test", "unlabelled"):
        ref = getattr(section, role, None)
        if ref is not None and is_path(ref):
            found[role] = str((folder / Path(ref).expanduser()).resolve())
    return found


def is_path(ref: str) -> bool:
    """Say whether a dataset reference is a path (it ends in a known suffix) rather than a registered name."""
    return Path(ref).suffix.lower() in {".csv", ".tsv", ".jsonl", ".parquet"}
