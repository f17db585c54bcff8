"""Holdfast's side of a tuning: the `tune` stage as a pipeline runs it, from the start model to the adapter's folder."""

from __future__ import annotations

import functools
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.speed import world
from holdfast import choices, digests, home, inference, models, rows, selection, spec
from holdfast.records import Artifact, Assessed, BaseRef, Selected, Start, Tuned, Validated
from holdfast.training import tune


@dataclass
class Tuning:
    """The arguments of one tuning, put together outside the clock."""

    given: tuple[Selected, Assessed, Validated, Start, spec.Recipe, tuple[spec.Remember, ...], home.Home]
    start: Start
    place: home.Home
    learn: dict[str, Any]

    def run(self, progress: tune.Progress | None = None) -> Tuned:
        """Tune."""
        return tune.tune(*self.given, progress)


def classifier(
    parameters: dict[str, Any], epochs: float, seed: int, rate: float, count: int = 500, **training: Any
) -> Tuning:
    """Return the tuning of MiniLM to NusaX English.

    Nobody looks at the validation rows here, so there is one: the rivals do not evaluate on the way either.
    """
    train, valid = world.nusax("train")[:count], world.nusax("valid")[:1]
    learn = {"train": "a.csv", "head": "mood"}
    raw = {"name": "t", "start": {"model": "x"}, "learn": learn, "parameters": parameters}
    return _tuning(world.encoder_folder(), raw, epochs, seed, rate, train, valid, "classification", **training)


def decoder(folder: Path, parameters: dict[str, Any], epochs: float, seed: int, rate: float, count: int) -> Tuning:
    """Return the tuning of a decoder to word problems."""
    train = world.gsm8k(count)
    learn = {"train": "a.csv", "metric": "exact"}
    raw = {"name": "t", "task": "generation", "start": {"model": "x"}, "learn": learn, "parameters": parameters}
    return _tuning(folder, raw, epochs, seed, rate, train, train[:1], "generation")


def _tuning(
    folder: Path,
    raw: dict[str, Any],
    epochs: float,
    seed: int,
    rate: float,
    train: list[dict[str, str]],
    valid: list[dict[str, str]],
    task: Any,
    **more: Any,
) -> Tuning:
    temporary = Path(tempfile.mkdtemp(prefix="holdfast-speed-"))
    length = world.LENGTH if task == "classification" else 1024
    settings = {"epochs": epochs, "seed": seed, "learning_rate": rate, "max_length": length, **more}
    start = untuned(task, folder)
    labels = world.LABELS if task == "classification" else ()
    return put_together(start, home.make(temporary / "home"), raw, settings, train, valid, labels)


def untuned(task: Any, folder: Path | None = None) -> Start:
    """Return a base from its folder, all-MiniLM-L6-v2 where none is named, as a start model."""
    folder = folder or world.encoder_folder()
    base = BaseRef(name=str(folder), revision=None, sha256=digests.of_file(folder / "model.safetensors"))
    return Start(model=str(folder), base=base, task=task)


def put_together(
    start: Start,
    place: home.Home,
    raw: dict[str, Any],
    settings: dict[str, Any],
    train: list[dict[str, str]],
    valid: list[dict[str, str]],
    labels: tuple[str, ...],
) -> Tuning:
    """Return the tuning of a start model as a pipeline file `raw` with these settings of `training` says, in bf16."""
    training = {"batch": world.BATCH, "precision": "bf16", **settings}
    control = {"enabled": False}
    pipeline = spec.parse({**raw, "training": training, "control": control}, place.path / "p.yaml")
    datasets = {"learn.train": rows.version(place, train), "learn.valid": rows.version(place, valid)}
    validated = Validated(
        datasets=datasets,
        labels=labels,
        quarantined=0,
        expectations=(),
        competences=(),
        artifact=datasets["learn.train"].artifact,
    )
    selected, assessed = _selected(start, pipeline, labels, place)
    return Tuning((selected, assessed, validated, start, pipeline.recipe, (), place), start, place, raw["learn"])


def _selected(
    start: Start, pipeline: spec.Pipeline, labels: tuple[str, ...], place: home.Home
) -> tuple[Selected, Assessed]:
    """Return what the choices of a pipeline select, and an assessment that nobody reads."""
    model = models.load(start, place)
    if start.task == "classification":
        model.add_head(pipeline.learn.head, labels, 0)
    made = [
        choices.load("parameters", name).select(model, None, choices.options("parameters", name, values))
        for name, values in pipeline.parameters.items()
    ]
    chosen = functools.reduce(selection.union, made)
    with place.store.scratch() as scratch:
        folder = scratch / "selection"
        folder.mkdir()
        selection.save(chosen, folder)
        artifact = place.store.put(folder, "selection")
        (scratch / "importance").mkdir()
        (scratch / "importance" / "importance.json").write_text(json.dumps({"measure": "none"}))
        importance = place.store.put(scratch / "importance", "importance")
    selected = Selected(moved=1, total=1, share=1.0, names=(), head=1, artifact=artifact)
    return selected, Assessed(measure="none", examples=1, artifact=importance)


def accuracy(tuning: Tuning, adapter: Artifact) -> float:
    """Return a tuned classifier's accuracy on the 400 test rows of NusaX English."""
    test = world.nusax("test")
    model = models.load(tuning.start.model_copy(update={"adapter": adapter}), tuning.place)
    model.use_head("mood")
    said = inference.logits(model, rows.texts(test), max_length=world.LENGTH, precision="bf16").argmax(1)
    return float((said == rows.label_ids(test, model.labels)).mean())
