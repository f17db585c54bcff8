"""Finished work to register, made by hand on the tiny encoder, and one home for the room (MLflow starts slowly)."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast import home as homes
from holdfast import rows, spec
from holdfast.home import Home
from holdfast.records import (
    Artifact,
    Assessed,
    ChampionScore,
    Evaluated,
    Prepared,
    Registered,
    RememberedScore,
    Selected,
    Start,
    TargetScore,
    Tuned,
    Validated,
)
from holdfast.registry import register

LABELS = ("negative", "positive")
Make = Callable[..., "Work"]


@dataclasses.dataclass(frozen=True)
class Work:
    """The arguments of `register.register`."""

    pipeline: spec.Pipeline
    prepared: Prepared
    validated: Validated
    assessed: Assessed
    selected: Selected
    tuned: Tuned
    evaluated: Evaluated
    home: Home

    def register(self) -> Registered:
        return register.register(**{field.name: getattr(self, field.name) for field in dataclasses.fields(self)})


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home that the tests of the room share; each test registers under a name of its own."""
    return homes.make(tmp_path_factory.mktemp("registry") / "home")


@pytest.fixture(scope="session")
def make(place: Home, tiny_start: Start, toy_rows: list[dict[str, str]]) -> Make:
    """Return `make(name, seed=..., **scores)`: finished work whose adapter is drawn from `seed`."""
    datasets = {f"learn.{role}": rows.version(place, toy_rows[i::3], ref=role) for i, role in enumerate(_ROLES)}
    datasets |= {"remember.old.test": rows.version(place, toy_rows[:24], ref="old")}
    adapters_made: dict[int, Artifact] = {}

    def call(name: str = "toy", seed: int = 1, gate: dict[str, float] | None = None, **given: Any) -> Work:
        raw = {"name": name, "start": {"model": tiny_start.model}, "learn": _LEARN, "remember": _REMEMBER}
        pipeline = spec.parse({**raw, "training": {"max_length": 32}, "gate": gate or {}}, Path("pipeline.yaml"))
        if seed not in adapters_made:
            adapters_made[seed] = adapter(place, tiny_start, seed)
        picture = folder(place, "evaluation", {"forgetting.png": f"picture {seed} {given}"})
        importance = {"importance.json": "{}", "heatmap.png": "map", "task.safetensors": "many numbers"}
        return Work(
            pipeline=pipeline,
            prepared=Prepared(start=tiny_start, datasets=datasets),
            validated=Validated(
                datasets=datasets,
                labels=LABELS,
                quarantined=0,
                expectations=(),
                competences=(),
                artifact=folder(place, "validation", {"quarantine.csv": "row,reason"}),
            ),
            assessed=Assessed(measure="fisher", examples=16, artifact=folder(place, "importance", importance)),
            selected=Selected(
                moved=64,
                total=25_000,
                share=64 / 25_000,
                names=("bert.encoder.layer.0.output.LayerNorm.weight",),
                head=66,
                artifact=folder(place, "selection", {"selection.json": "{}"}),
            ),
            tuned=Tuned(adapter=adapters_made[seed], curve=folder(place, "curve", _CURVE), steps=3, final_loss=0.25),
            evaluated=evaluated(picture, **given),
            home=place,
        )

    return call


_ROLES = ("train", "valid", "test")
_LEARN = {**{role: f"{role}.csv" for role in _ROLES}, "head": "sentiment"}
_REMEMBER = [{"name": "old", "valid": "old.csv", "test": "old.csv"}]
_STEPS = [{"step": i, "epoch": i / 3, "loss": 1.0 / i, "learning_rate": 0.001} for i in (1, 2, 3)]
_CURVE = {
    "curve.json": json.dumps({"steps": _STEPS, "valid": [{"step": 3, "loss": 0.5, "accuracy": 0.75}], "best_step": 3}),
    "curve.png": "picture",
}


def folder(home: Home, kind: str, files: dict[str, str]) -> Artifact:
    """Put a folder of small files into the store."""
    with home.store.scratch() as scratch:
        for name, text in files.items():
            (scratch / name).write_text(text)
        return home.store.put(scratch, kind)


def adapter(home: Home, start: Start, seed: int) -> Artifact:
    """Put an adapter that moved one LayerNorm, with a head `sentiment`, into the store."""
    import torch

    from holdfast import adapters, models
    from holdfast.selection import Selection

    model = models.load_with_head(start, home, "sentiment", LABELS, seed)
    name = "bert.encoder.layer.0.output.LayerNorm.weight"
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        model.encoder_parameters()[name].add_(torch.randn(32, generator=generator))
        for parameter in model.head_parameters().values():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    with home.store.scratch() as scratch:
        adapters.write(model, Selection(whole=frozenset({name}), partial={}), start, home, scratch)
        return home.store.put(scratch, "adapter")


def evaluated(
    artifact: Artifact,
    lower: float = 0.05,
    bound: float = 0.02,
    rival: str | None = None,
    rival_bound: float = 0.01,
    gain: float = 0.2,
) -> Evaluated:
    """Return hand-made scores: the target's lower bound, the remembered task's upper bound, the champion's bound."""
    return Evaluated(
        target=TargetScore(
            metric="accuracy", before=0.5, after=0.5 + gain, gain=gain, interval=(lower - 0.01, gain + 0.1),
            lower=lower, positive_flips=9, negative_flips=1, n=40,
        ),
        remembered=(
            RememberedScore(
                name="old", metric="accuracy", before=0.9, after=0.89, drop=0.01, bound=bound, margin=0.05,
                confidence=0.95, kept=bound < 0.05, positive_flips=1, negative_flips=2, n=100,
            ),
        ),
        champion=rival
        and ChampionScore(version=rival, before=0.7, after=0.7, drop=0.0, bound=rival_bound, confidence=0.95, n=40),
        kl={"target": 0.3, "old": 0.02},
        cka=0.98,
        artifact=artifact,
    )  # fmt: skip
