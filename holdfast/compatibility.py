"""Combinations that cannot work, refused when the pipeline file is read, each with its reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from holdfast import choices
from holdfast.errors import BadInput

if TYPE_CHECKING:
    from holdfast.spec import Pipeline

Rule = Callable[["Pipeline"], str | None]


def _one_objective(pipeline: Pipeline) -> str | None:
    return None if len(pipeline.objective) == 1 else "exactly one objective can be minimised"


def _something_moves(pipeline: Pipeline) -> str | None:
    return None if pipeline.parameters else "`parameters` chooses nothing: name at least one part that may move"


def _alone(choice: str, reason: str) -> Rule:
    def rule(pipeline: Pipeline) -> str | None:
        return f"`{choice}` {reason}" if choice in pipeline.parameters and len(pipeline.parameters) > 1 else None

    return rule


def _replay_has_a_source(pipeline: Pipeline) -> str | None:
    if "replay" in pipeline.examples and not any(task.train for task in pipeline.remember):
        return "`replay` has nothing to replay: give at least one remembered task a `train` dataset"
    return None


def _ewc_has_a_source(pipeline: Pipeline) -> str | None:
    if "ewc" in pipeline.anchors and not any(task.train for task in pipeline.remember):
        return "`ewc` needs the Fisher information of old data: give at least one remembered task a `train` dataset"
    return None


def _ewc_weighs_by_fisher(pipeline: Pipeline) -> str | None:
    measure = pipeline.assess.measure
    if "ewc" in pipeline.anchors and "fisher" not in measure:
        return (
            f"`ewc` weighs by Fisher information, and `assess.measure` is {measure}: choose fisher or empirical-fisher"
        )
    return None


def _kl_has_a_source(pipeline: Pipeline) -> str | None:
    wanted = pipeline.anchors.get("kl", {}).get("on") == "remembered"
    if wanted and not any(task.train for task in pipeline.remember):
        return "`kl` on remembered texts has none: give at least one remembered task a `train` dataset"
    return None


def _something_to_learn_from(pipeline: Pipeline) -> str | None:
    return None if pipeline.examples else "`examples` chooses nothing: name what to learn from, such as gold"


def _one_time_shape(pipeline: Pipeline) -> str | None:
    shapes = [name for name in pipeline.schedule if hasattr(choices.load("schedules", name), "factor")]
    if len(shapes) > 1:
        return f"`{shapes[0]}` and `{shapes[1]}` both say how the learning rate changes over time: choose one"
    return None


def _lora_is_not_anchored_by_weights(pipeline: Pipeline) -> str | None:
    chosen = sorted({"ewc", "l2sp"} & set(pipeline.anchors))
    if "lora" in pipeline.parameters and chosen:
        return f"`{chosen[0]}` anchors the start model's own weights, which `lora` does not move; use `kl` or `lwf`"
    return None


def _unfreezing_needs_layers(pipeline: Pipeline) -> str | None:
    flat = {"layernorm", "embeddings"}
    if "unfreezing" in pipeline.schedule and set(pipeline.parameters) <= flat:
        return "`unfreezing` goes layer by layer, and the chosen `parameters` have no layers to unfreeze"
    return None


def _trials_are_shorter_than_unfreezing(pipeline: Pipeline) -> str | None:
    if "auto" in pipeline.parameters and "unfreezing" in pipeline.schedule:
        return "`unfreezing` keeps low layers still for longer than the trials of `auto` last: they could not show"
    return None


def _circuit_settings_are_read(pipeline: Pipeline) -> str | None:
    if pipeline.assess.circuit is not None and "circuit" not in pipeline.parameters:
        return "`assess.circuit` says how a circuit is found, and `parameters` does not choose `circuit`"
    return None


def _teacher_has_labels(pipeline: Pipeline) -> str | None:
    for name, options in pipeline.objective.items():
        teacher = options.get("teacher")
        if pipeline.task == "classification" and teacher is not None and not teacher.startswith("models:/"):
            return f"`{name}` needs a teacher that knows the labels: a registered version, not the base `{teacher}`"
    return None


def _distinct_remembered_names(pipeline: Pipeline) -> str | None:
    names = [task.name for task in pipeline.remember]
    twice = sorted({name for name in names if names.count(name) > 1})
    return f"two remembered tasks are named `{twice[0]}`" if twice else None


RULES: tuple[tuple[str, Rule], ...] = (
    ("objective", _one_objective),
    ("objective", _teacher_has_labels),
    ("parameters", _something_moves),
    ("parameters", _alone("full", "moves everything: no other choice can be added to it")),
    (
        "parameters",
        _alone("lora", "trains new low-rank weights beside the frozen ones: it cannot be mixed with other choices"),
    ),
    ("parameters", _alone("auto", "tries selections of its own and takes one: no other choice can be added to it")),
    ("examples", _something_to_learn_from),
    ("examples", _replay_has_a_source),
    ("anchors", _ewc_has_a_source),
    ("anchors", _ewc_weighs_by_fisher),
    ("anchors", _kl_has_a_source),
    ("anchors", _lora_is_not_anchored_by_weights),
    ("schedule", _one_time_shape),
    ("schedule", _unfreezing_needs_layers),
    ("schedule", _trials_are_shorter_than_unfreezing),
    ("assess", _circuit_settings_are_read),
    ("remember", _distinct_remembered_names),
)


def check(pipeline: Pipeline, file: object = None) -> None:
    """Raise `BadInput` with the first reason why the combination of choices cannot work."""
    for key, rule in RULES:
        reason = rule(pipeline)
        if reason:
            raise BadInput(reason, file=file, key=key)
