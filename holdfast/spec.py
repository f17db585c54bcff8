"""The pipeline file, typed: what to start from, what to learn, what to remember, how, and when to promote.

`load(path, overrides)` reads a YAML file; unknown keys are errors that name the nearest known key. Relative dataset
paths are relative to the file. A stage is given only the sections
that it reads, and its cache key sees no others.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from holdfast import choices, compatibility, digests, methods
from holdfast.circuits.settings import Circuit
from holdfast.errors import BadInput


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


class StartSpec(Section):
    """What to start from; `made_by` is a pipeline file that makes the version where it is not registered yet."""

    model: str
    revision: str | None = None
    made_by: Path | None = None


class ColumnSpec(Section):
    """Which columns of a dataset hold the text and the label."""

    text: str = "text"
    label: str = "label"


class Learn(ColumnSpec):
    """What to learn. Without `valid` or `test`, rows are split off `train` (10% and 20%, stratified, seeded)."""

    train: str
    valid: str | None = None
    test: str | None = None
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

    `circuit` is filled in where `parameters` chooses it, and refused where it does not.
    """

    measure: Literal["fisher", "empirical-fisher", "taylor", "activation"] = "fisher"
    examples: int = Field(128, ge=2)
    circuit: Circuit | None = None


class Training(Section):
    """The settings of the trainer. `epochs` may be a fraction; `patience` in epochs turns early stopping on.

    A batch goes through the network in `accumulate` parts, whose gradients add up to the whole batch's: less memory,
    the same update.
    """

    epochs: float = Field(4, gt=0)
    batch: int = Field(16, ge=1)
    accumulate: int = Field(1, ge=1)
    learning_rate: float = Field(2e-4, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    clip: float = Field(1.0, gt=0)
    max_length: int = Field(128, ge=8)
    seed: int = Field(7, ge=0, lt=2**32)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    patience: int | None = Field(None, ge=1)
    checkpoints_per_epoch: int = Field(1, ge=1)


class Control(Section):
    """What the controller may do on `valid` so that every contract is kept; without a remembered task it does nothing.

    It looks at `looks` points along the way and tries `interpolations` (shares of the way from the start model), within
    `budget`: a share of the tuning's work, which may leave fewer of them. Where contracts broke and nothing keeps them
    with a gain, it tunes again with a stronger anchor, `attempts` tunings in all.
    """

    enabled: bool = True
    looks: int = Field(4, ge=1)
    interpolations: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.25, 0.5, 0.75)
    budget: float = Field(0.3, gt=0, le=1)
    attempts: int = Field(2, ge=1, le=5)


class Gate(Section):
    """When a version is promoted: target gain above `target_gain`, not worse than the champion by `champion_margin`."""

    target_gain: float = Field(0.0, gt=-1, lt=1)
    champion_margin: float = Field(0.05, gt=0, lt=1)


class Register(Section):
    """Under which name versions are registered, where it is not the pipeline's."""

    name: Name | None = None


class Recipe(Section):
    """How to tune: the file's sections that together make up what the tune stage reads."""

    examples: choices.Choices
    objective: choices.Choices
    anchors: choices.Choices
    schedule: choices.Choices
    training: Training
    head: str
    control: Control = Control()


class Pipeline(Section):
    """A whole pipeline file, with defaults filled in and the method's preset spelt out on the axes."""

    name: Name
    task: Literal["classification"] = "classification"
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
        return "mask" in self.parameters or "ewc" in self.anchors


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
    return parse(_with_overrides(_read(path), overrides or []), path)


def parse(raw: dict[str, Any], path: Path) -> Pipeline:
    """Return the typed pipeline of a mapping read from `path`: paths absolute, empty sections at their defaults."""
    try:
        values = methods.expand({key: value for key, value in raw.items() if value is not None})
        for key, axis in AXIS_OF_KEY.items():
            values[key] = choices.parse(axis, values.get(key), key)
        pipeline = Pipeline.model_validate(values)
    except ValidationError as error:
        raise choices.from_validation(error, "", _known_keys(error), path) from error
    except BadInput as error:
        raise BadInput(error.what, file=path, key=error.key, expected=error.expected, remedy=error.remedy) from error
    pipeline = _with_circuit(_absolute(pipeline, path.resolve().parent))
    compatibility.check(pipeline, path)
    return pipeline


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = _yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput("no such pipeline file", file=path) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"cannot be read as YAML ({error})", file=path) from error
    if not isinstance(raw, dict):
        raise BadInput("is not a mapping", file=path, expected="keys such as name, start and learn")
    return raw


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which also refuses a key that occurs twice: the first one would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping of `node`; raises `yaml.MarkedYAMLError` for a key that occurs twice."""
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"the key `{key.value}` occurs twice", problem_mark=key.start_mark)
            seen.add(key.value)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


def _yaml(text: str) -> Any:
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _with_overrides(raw: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key.strip():
            raise BadInput(f"cannot read the override {override!r}", expected="--set dotted.key=value")
        try:
            _set(raw, key.strip().split("."), _yaml(value))
        except yaml.YAMLError as error:
            raise BadInput(f"cannot read the override {override!r} ({error})", expected="a YAML value") from error
    return raw


def _set(target: Any, parts: list[str], value: Any) -> None:
    """Set the value at a dotted key; a part that is missing or empty becomes a mapping, list items go by position."""
    *way, last = parts
    for depth, part in enumerate(way, 1):
        place = _place(target, part, parts)
        if isinstance(target, dict) and target.get(place) is None:
            target[place] = {}
        target = target[place]
        if not isinstance(target, dict | list):
            above = ".".join(parts[:depth])
            raise BadInput(f"cannot be set: `{above}` is {target!r:.80}, not a mapping", key=".".join(parts))
    target[_place(target, last, parts)] = value


def _place(target: Any, part: str, parts: list[str]) -> Any:
    """Return the key or position that `part` is in `target`; raise `BadInput` where a list has no such position."""
    if isinstance(target, dict):
        return part
    if not part.isdigit() or int(part) >= len(target):
        above = ".".join(parts[: parts.index(part)])
        wanted = f"a position from 0 to {len(target) - 1} in the list `{above}`"
        raise BadInput(f"cannot be set: there is no `{part}`", key=".".join(parts), expected=wanted)
    return int(part)


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


def _absolute(pipeline: Pipeline, folder: Path) -> Pipeline:
    learn = pipeline.learn.model_copy(update=_absolute_datasets(pipeline.learn, folder))
    remember = tuple(task.model_copy(update=_absolute_datasets(task, folder)) for task in pipeline.remember)
    start: dict[str, Any] = {}
    if pipeline.start.made_by:
        start["made_by"] = (folder / pipeline.start.made_by.expanduser()).resolve()
    model = folder / Path(pipeline.start.model).expanduser()
    if model.is_dir():
        start["model"] = str(model.resolve())
    update = {"learn": learn, "remember": remember, "start": pipeline.start.model_copy(update=start)}
    return pipeline.model_copy(update=update)


def _absolute_datasets(section: Learn | Remember, folder: Path) -> dict[str, str]:
    """Return the dataset references that are paths made absolute; registered names have no file suffix and stay."""
    found = {}
    for role in ("train", "valid", "test"):
        ref = getattr(section, role)
        if ref is not None and is_path(ref):
            found[role] = str((folder / Path(ref).expanduser()).resolve())
    return found


def is_path(ref: str) -> bool:
    """Say whether a dataset reference is a path (it ends in a known suffix) rather than a registered name."""
    return Path(ref).suffix.lower() in {".csv", ".tsv", ".jsonl", ".parquet"}
