"""Combinations that cannot work, refused when the pipeline file is read, each with its reason."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from holdfast import choices
from holdfast.errors import BadInput

if TYPE_CHECKING:
    from holdfast.spec import Learn, Pipeline, Remember

LABELLED = ("no-conflicting-labels", "known-labels", "balanced-labels")  # expectations that need labels
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


def _adding(pipeline: Pipeline) -> list[tuple[str, str]]:
    """Return the chosen `parameters` that add something to the encoder, each with what."""
    modules = {name: choices.load("parameters", name) for name in pipeline.parameters}
    return [(name, module.ADDS) for name, module in modules.items() if hasattr(module, "ADDS")]


def _additions_are_alone(pipeline: Pipeline) -> str | None:
    for name, what in _adding(pipeline) if len(pipeline.parameters) > 1 else ():
        return f"`{name}` trains new {what} beside the frozen ones: it cannot be mixed with other choices"
    return None


def _additions_are_not_anchored_by_weights(pipeline: Pipeline) -> str | None:
    chosen = sorted({"ewc", "l2sp"} & set(pipeline.anchors))
    for name, _ in _adding(pipeline) if chosen else ():
        return f"`{chosen[0]}` anchors the start model's own weights, which `{name}` does not move; use `kl` or `lwf`"
    return None


def _unfreezing_needs_layers(pipeline: Pipeline) -> str | None:
    flat = {"embeddings", "prompt"}  # all of it at one depth
    if "unfreezing" in pipeline.schedule and set(pipeline.parameters) <= flat:
        return "`unfreezing` goes layer by layer, and the chosen `parameters` have no layers to unfreeze"
    return None


def _wise_is_its_own_controller(pipeline: Pipeline) -> str | None:
    asked = "enabled" in pipeline.control.model_fields_set and pipeline.control.enabled
    if "wise" in pipeline.schedule and asked:
        return "`wise` draws weights back as far as it says, and `control.enabled` asks the controller to search"
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


_Columns = dict[str, str | None]  # what one kind of task alone reads, with its defaults
_OF_LABELS: _Columns = {"text": "text", "label": "label"}
_OF_ANSWERS: _Columns = {"prompt": "prompt", "answer": "answer", "tests": None, "choices": None, "metric": None}


_OF_TEXTS = {"likelihood": "a text", "pairs": "the columns `good` and `bad`"}  # metrics of what is only remembered


def _foreign(section: Learn | Remember, generates: bool) -> _Columns:
    """Return what a section of the task never reads, with its defaults."""
    if generates and section.metric in _OF_TEXTS:
        unread = {key: default for key, default in _OF_ANSWERS.items() if key != "metric"} | _OF_LABELS
        return {key: default for key, default in unread.items() if key != "text" or section.metric == "pairs"}
    return _OF_LABELS if generates else _OF_ANSWERS


def _sections(pipeline: Pipeline) -> list[tuple[str, Learn | Remember]]:
    return [("learn", pipeline.learn), *((f"remember.{task.name}", task) for task in pipeline.remember)]


def _columns_of_the_task(pipeline: Pipeline) -> str | None:
    generates = pipeline.task == "generation"
    for name, section in _sections(pipeline):
        for key, default in _foreign(section, generates).items():
            if getattr(section, key) != default:
                texts = _OF_TEXTS.get(section.metric or "", "a prompt and an answer")
                reads = texts if generates else "a text and a label"
                return f"`{name}.{key}` is never read: `task: {pipeline.task}` reads {reads}"
        if generates and section.head not in (None, "label"):
            return f"`{name}.head` is never read: a decoder has no heads, it answers in words"
    return None


def _no_labels_expected(pipeline: Pipeline) -> str | None:
    chosen = pipeline.learn.expect
    labelled = [name for name in chosen if name in LABELLED]
    if pipeline.task == "generation" and labelled and "expect" in pipeline.learn.model_fields_set:
        return f"`{labelled[0]}` is about labels, and answers in words have none"
    return None


def _texts_are_remembered(pipeline: Pipeline) -> str | None:
    metric = pipeline.learn.metric
    if metric in _OF_TEXTS:
        return f"`{metric}` is of texts that are remembered; what is learned has answers: choose another metric"
    for task in pipeline.remember:
        if task.metric in _OF_TEXTS and task.train is not None:
            return f"`remember.{task.name}.train` is never read: texts have no answers to go on learning from"
    return None


def _metrics_have_columns(pipeline: Pipeline) -> str | None:
    for name, section in _sections(pipeline):
        metric = section.metric or pipeline.learn.metric
        needed = {"choice": "choices", "tests": "tests"}.get(metric or "")
        if pipeline.task == "generation" and needed and getattr(section, needed) is None:
            return f"`{name}` is judged by `{metric}`: name the column of its {needed} as `{name}.{needed}`"
        if metric != "choice" and section.choices is not None:
            return f"`{name}.choices` is never read: only the metric `choice` asks for one of them"
    return None


def _decoders_can(pipeline: Pipeline) -> str | None:
    if pipeline.task != "generation":
        return None
    if pipeline.assess.measure == "activation":
        return "`activation` is not defined for the norms of decoders: choose fisher, empirical-fisher or taylor"
    for name, reason in _NOT_FOR_DECODERS.items():
        if name in pipeline.parameters or name in pipeline.anchors:
            return f"`{name}` {reason}"
    return None


_NOT_FOR_DECODERS = {
    "auto": "compares trials by classifying, which a decoder does not: name the parts that may move",
    "lwf": "keeps the answers of old heads, and a decoder has none: choose `kl`",
}


def _packed_rows_are_a_decoders(pipeline: Pipeline) -> str | None:
    if not pipeline.training.packing:
        return None
    if pipeline.task != "generation":
        return "rows of a classifier are not packed: its batches are grouped by length"
    for name, what in _adding(pipeline):
        if what in ("states", "keys and values"):
            return f"`{name}` puts {what} before every row, and packed rows have one beginning together"
    return None


def _layers_are_computed_again(pipeline: Pipeline) -> str | None:
    if not pipeline.training.gradient_checkpointing or pipeline.task != "generation":
        return None
    for name, what in _adding(pipeline):
        if what == "states":
            return (
                f"`{name}` runs a decoder's layer twice, on {what} and on the text: it cannot be computed again alone"
            )
    return None


def _a_random_head_knows_no_answers(pipeline: Pipeline) -> str | None:
    if pipeline.training.new_head == "fitted":
        return None
    if pipeline.task == "generation":
        return "a decoder has no head that could begin at random"
    own = [name for name in pipeline.objective if _asks_the_start_model(pipeline, name)]
    own += [name for name in pipeline.examples if name == "pseudo-labels"]
    kl = pipeline.anchors.get("kl")
    if kl is not None and (kl.get("on") == "training" or not any(task.train for task in pipeline.remember)):
        own.append("kl")
    return f"`{own[0]}` asks the start model for its answers, and a random head knows none" if own else None


def _asks_the_start_model(pipeline: Pipeline, objective: str) -> bool:
    needs = getattr(choices.load("objectives", objective), "NEEDS", ())
    return "teacher" in needs and pipeline.objective[objective].get("teacher") is None


def _layers_lie_below(pipeline: Pipeline) -> str | None:
    if pipeline.training.prefix_cache != "on":
        return None
    for name, options in pipeline.parameters.items():
        if _moves_the_lowest(name, options):
            return (
                f"`on` keeps what the layers below all that moves give, and below `{name}` lies none: say auto or off"
            )
    return None


def _moves_the_lowest(name: str, options: dict[str, Any]) -> bool:
    """Say whether the lowest layer, or what lies below it, is sure to move: known without the model."""
    match name:
        case "circuit":
            return bool(options["layernorm"])
        case "lora":
            return 0 in options["layers"] or not (options["layers"] or options["targets"])
        case "layers":
            return bool({0, "0", "embeddings"} & set(options["names"]))
        case "heads":
            return any(head.startswith("0.") for head in options["names"])
    return str(choices.load("parameters", name).BELOW).startswith("nothing:")


def _four_bits_can_be_had(pipeline: Pipeline) -> str | None:
    if pipeline.training.frozen_weights != "4bit":
        return None
    if "full" in pipeline.parameters:
        return "`full` moves everything: no frozen weight is left to be held in 4 bits"
    if "auto" in pipeline.parameters:
        return "`auto` tries one selection after the other on a model, and 4 bits leave only one: name what may move"
    kind = pipeline.parameters.get("lora", {}).get("kind", "lora")
    if kind != "lora":
        return f"`{kind}` is made of the frozen weights, of which 4 bits are not enough: choose plain `lora`"
    if pipeline.run.workers == "here" and find_spec("bitsandbytes") is None:
        return "4 bits need bitsandbytes, which is not installed: pip install bitsandbytes"
    return None


def _own_words_are_generated(pipeline: Pipeline) -> str | None:
    if "self" in pipeline.examples and pipeline.task != "generation":
        return "`self` learns answers in the model's own words, and a classifier has none: it needs `task: generation`"
    return None


def _judged_by_tests_that_are_there(pipeline: Pipeline) -> str | None:
    judge = pipeline.examples.get("self", {}).get("judge")
    if "tests" in dict(choices.pairs(judge)) and pipeline.learn.tests is None:
        return "`self` is judged by `tests`: name the column of its tests as `learn.tests`"
    return None


def _unlabelled_texts_are_there(pipeline: Pipeline) -> str | None:
    for name in pipeline.examples:
        if getattr(choices.load("examples", name), "USES_UNLABELLED", False) and pipeline.learn.unlabelled is None:
            return f"`{name}` learns from texts without labels: name them as `learn.unlabelled`"
    return None


def _pseudo_labels_are_labels(pipeline: Pipeline) -> str | None:
    if "pseudo-labels" in pipeline.examples and pipeline.task == "generation":
        return "`pseudo-labels` gives texts labels, and answers in words have none: choose `self`"
    return None


def _adjusting_has_a_general_importance(pipeline: Pipeline) -> str | None:
    if "importance-scaled" not in pipeline.schedule:
        return None
    for name, what in _adding(pipeline):
        return (
            f"`importance-scaled` weighs by the importance of the start model's weights, and `{name}` moves new {what}"
        )
    if not any(task.train for task in pipeline.remember):
        return "`importance-scaled` weighs against general importance: give a remembered task a `train` dataset"
    return None


def _own_words_or_gold(pipeline: Pipeline) -> str | None:
    if {"self", "gold"} <= set(pipeline.examples):
        return "`self` takes the place of the gold answers, and keeps them where it must: leave `gold` out"
    return None


def _a_merge_tunes_nothing(pipeline: Pipeline) -> str | None:
    plain = [("examples", "gold"), ("parameters", "full"), ("objectives", "sft"), ("schedules", "plain")]
    if pipeline.merge is None or (pipeline.method is None and pipeline.chosen() == plain):
        return None
    return "`merge` tunes nothing: leave out `method`, `examples`, `parameters`, `objective`, `anchors` and `schedule`"


def _distinct_remembered_names(pipeline: Pipeline) -> str | None:
    names = [task.name for task in pipeline.remember]
    twice = sorted({name for name in names if names.count(name) > 1})
    return f"two remembered tasks are named `{twice[0]}`" if twice else None


RULES: tuple[tuple[str, Rule], ...] = (
    ("task", _columns_of_the_task),
    ("learn.expect", _no_labels_expected),
    ("learn.metric", _metrics_have_columns),
    ("remember", _texts_are_remembered),
    ("task", _decoders_can),
    ("objective", _one_objective),
    ("objective", _teacher_has_labels),
    ("parameters", _something_moves),
    ("parameters", _alone("full", "moves everything: no other choice can be added to it")),
    ("parameters", _additions_are_alone),
    ("parameters", _alone("auto", "tries selections of its own and takes one: no other choice can be added to it")),
    ("examples", _something_to_learn_from),
    ("examples", _own_words_are_generated),
    ("examples", _judged_by_tests_that_are_there),
    ("examples", _unlabelled_texts_are_there),
    ("examples", _pseudo_labels_are_labels),
    ("examples", _own_words_or_gold),
    ("examples", _replay_has_a_source),
    ("anchors", _ewc_has_a_source),
    ("anchors", _ewc_weighs_by_fisher),
    ("anchors", _kl_has_a_source),
    ("anchors", _additions_are_not_anchored_by_weights),
    ("schedule", _one_time_shape),
    ("schedule", _unfreezing_needs_layers),
    ("schedule", _adjusting_has_a_general_importance),
    ("schedule", _trials_are_shorter_than_unfreezing),
    ("schedule", _wise_is_its_own_controller),
    ("assess", _circuit_settings_are_read),
    ("training.prefix_cache", _layers_lie_below),
    ("training.packing", _packed_rows_are_a_decoders),
    ("training.gradient_checkpointing", _layers_are_computed_again),
    ("training.new_head", _a_random_head_knows_no_answers),
    ("training.frozen_weights", _four_bits_can_be_had),
    ("merge", _a_merge_tunes_nothing),
    ("remember", _distinct_remembered_names),
)


def check(pipeline: Pipeline, file: object = None) -> None:
    """Raise `BadInput` with the first reason why the combination of choices cannot work."""
    for key, rule in RULES:
        reason = rule(pipeline)
        if reason:
            raise BadInput(reason, file=file, key=key)
