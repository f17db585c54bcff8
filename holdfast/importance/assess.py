"""The assess stage: how much each part of the encoder matters to the task, and to what is to be remembered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast import digests, models, progress
from holdfast import rows as datasets
from holdfast.circuits import stage
from holdfast.errors import BadInput
from holdfast.importance import activation, answers, fisher, heatmap, levels, probe, sampling, taylor
from holdfast.records import Assessed

if TYPE_CHECKING:
    from holdfast.home import Home
    from holdfast.importance.levels import Weights
    from holdfast.models import Model
    from holdfast.records import Artifact, DatasetVersion, Start, Validated
    from holdfast.spec import Assess, Learn, Remember, Training

MEASURES = {
    "fisher": fisher.true,
    "empirical-fisher": fisher.empirical,
    "taylor": taylor.taylor,
    "activation": activation.activation,
}


def assess(
    validated: Validated,
    start: Start,
    settings: Assess,
    learn: Learn,
    remember: Sequence[Remember],
    training: Training,
    elementwise: bool,
    home: Home,
) -> Assessed:
    """Return the importances of every part of the start model's encoder, and their heat map.

    The task's are measured on a label-balanced sample of the training rows, through the head in place; a new head is
    first fitted as a probe. The general ones are the mean over the remembered tasks that have training rows, each
    through its own head. `elementwise` keeps one number per weight beside the means. With `settings.circuit` the
    circuit of a task is found too. Raises `BadInput` when a label has too few rows, or a remembered task's head is not
    the start model's.
    """
    model = models.load_with_head(start, home, learn.head, validated.labels, training.seed)
    train = datasets.read(home, validated.datasets["learn.train"])
    if learn.head not in start.heads and not model.generates:
        probe.fit(model, train, model.labels, training.max_length, training.seed)
    sources = [task for task in remember if f"remember.{task.name}.train" in validated.datasets]
    progress.report("assess", 0, 1 + len(sources))
    task, examples = _measure(model, train, settings, training, learn.train)
    general: list[Weights] = []
    for done, source in enumerate(sources, 1):
        progress.report("assess", done, 1 + len(sources))
        general.append(_remembered(model, source, validated, learn, settings, training, home))
    progress.report("assess", 1 + len(sources), 1 + len(sources))
    circuit = _circuit(model, start, validated, settings, learn, remember, training, home)
    return _keep(model, settings.measure, examples, task, _mean(general), elementwise, circuit, home)


def _measure(
    model: Model, rows: list[datasets.Row], settings: Assess, training: Training, dataset: str
) -> tuple[Weights, int]:
    """Return the importance of every encoder weight on a balanced sample of `rows`, and how many rows that was."""
    if model.generates:
        asked = sampling.any_of(rows, settings.examples, training.seed, dataset)
        found = answers.measure(settings.measure, model, asked, training.max_length, training.seed, settings.precision)
        return {name: found[name].float() for name in model.encoder_parameters()}, len(asked)
    chosen = sampling.balanced(rows, model.labels, settings.examples, training.seed, dataset)
    targets = datasets.label_ids(chosen, model.labels)
    measure = MEASURES[settings.measure]
    texts = datasets.texts(chosen)
    weights = measure(model, texts, targets, training.max_length, training.seed, settings.precision)
    return {name: weights[name].float() for name in model.encoder_parameters()}, len(chosen)


def _remembered(
    model: Model,
    source: Remember,
    validated: Validated,
    learn: Learn,
    settings: Assess,
    training: Training,
    home: Home,
) -> Weights:
    version: DatasetVersion = validated.datasets[f"remember.{source.name}.train"]
    if model.generates:
        return _measure(model, datasets.read(home, version), settings, training, source.train or version.ref)[0]
    head = source.head or learn.head
    if head not in model.heads:
        raise BadInput(
            f"the remembered task `{source.name}` is scored by the head `{head}`, which the start model does not have",
            key="remember.head",
            expected=f"one of {', '.join(model.heads)}",
        )
    model.use_head(head)
    return _measure(model, datasets.read(home, version), settings, training, source.train or version.ref)[0]


def _circuit(
    model: Model,
    start: Start,
    validated: Validated,
    settings: Assess,
    learn: Learn,
    remember: Sequence[Remember],
    training: Training,
    home: Home,
) -> Artifact | None:
    if settings.circuit is None:
        return None

    def report(share: float) -> None:
        progress.report("circuit", round(100 * share), 100)

    return stage.keep(model, start, validated, settings.circuit, learn, remember, training, home, report)


def _mean(several: list[Weights]) -> Weights | None:
    if not several:
        return None
    return {name: sum(weights[name] for weights in several) / len(several) for name in several[0]}


def _keep(
    model: Model,
    measure: str,
    examples: int,
    task: Weights,
    general: Weights | None,
    elementwise: bool,
    circuit: Artifact | None,
    home: Home,
) -> Assessed:
    gathered = levels.gather(model, task), levels.gather(model, general) if general else None
    importance = {"measure": measure, "examples": examples, "task": gathered[0], "general": gathered[1]}
    if circuit is not None:
        importance["circuit"] = circuit.digest  # so that whoever depends on the importances depends on the circuit
    shown = heatmap.table(model, *gathered)
    with home.store.scratch() as scratch:
        folder = scratch / "importance"
        folder.mkdir()
        (folder / "importance.json").write_text(digests.canonical_json(importance), encoding="utf-8")
        (folder / "heatmap.png").write_bytes(heatmap.draw(shown, measure))
        if elementwise:
            _write_weights(folder, task, general)
        artifact = home.store.put(folder, "importance")
    return Assessed(measure=measure, examples=examples, artifact=artifact, circuit=circuit)


def _write_weights(folder: Path, task: Weights, general: Weights | None) -> None:
    from safetensors.torch import save_file

    kept: dict[str, Any] = {"task": task, "general": general}
    for kind, weights in kept.items():
        if weights:
            save_file({name: value.contiguous() for name, value in weights.items()}, folder / f"{kind}.safetensors")
