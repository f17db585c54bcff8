"""A whole tuning over the tiny encoder, ready to run, with every part exchangeable."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from holdfast import home as homes
from holdfast import models, rows, selection, spec
from holdfast.home import Home
from holdfast.records import Assessed, HeadInfo, Selected, Start, Tuned, Validated
from holdfast.selection import Selection
from holdfast.training import job
from holdfast.training import tune as tuning

LABELS = ("negative", "positive")


@dataclass(frozen=True)
class Setup:
    """The arguments of `tune`, and the selection among them."""

    selected: Selected
    assessed: Assessed
    validated: Validated
    start: Start
    recipe: spec.Recipe
    remember: tuple[spec.Remember, ...]
    home: Home
    chosen: Selection

    def given(self) -> job.Given:
        return job.Given(*self._parts())

    def run(self, progress: Any = None) -> Tuned:
        return tuning.tune(*self._parts(), progress)

    def key(self) -> str:
        return self.given().key

    def _parts(self) -> tuple[Any, ...]:
        return (self.selected, self.assessed, self.validated, self.start, self.recipe, self.remember, self.home)

    def with_(self, **training: Any) -> "Setup":
        """The same with other training settings."""
        changed = self.recipe.training.model_copy(update=training)
        return replace(self, recipe=self.recipe.model_copy(update={"training": changed}))

    def adapter(self, tuned: Tuned) -> dict[str, torch.Tensor]:
        from safetensors.torch import load_file

        return load_file(self.home.store.open(tuned.adapter) / "adapter_model.safetensors")

    def curve(self, tuned: Tuned) -> dict[str, Any]:
        return json.loads((self.home.store.open(tuned.curve) / "curve.json").read_text())


def put_selection(home: Home, chosen: Selection) -> Selected:
    with home.store.scratch() as scratch:
        folder = scratch / "selection"
        folder.mkdir()
        selection.save(chosen, folder)
        artifact = home.store.put(folder, "selection")
    return Selected(moved=1, total=1, share=1.0, names=(), head=1, artifact=artifact)


def put_importance(home: Home, values: dict[str, torch.Tensor]) -> Assessed:
    """An assessment whose general importance per weight is `values`."""
    levels = {"tensor": {n: float(v.mean()) * (1 + len(n) % 7) for n, v in values.items()}, "head": {}, "layer": {}}
    with home.store.scratch() as scratch:
        folder = scratch / "importance"
        folder.mkdir()
        described = {"measure": "fisher", "examples": 4, "task": levels, "general": levels}
        (folder / "importance.json").write_text(json.dumps(described))
        save_file(values, folder / "general.safetensors")
        artifact = home.store.put(folder, "importance")
    return Assessed(measure="fisher", examples=4, artifact=artifact)


def recipe(tmp: Path, remember: tuple[spec.Remember, ...] = (), **raw: Any) -> spec.Recipe:
    """The recipe of a pipeline file with these keys; three epochs of six batches unless `training` says otherwise.

    The controller is off unless `control` turns it on.
    """
    training = {"epochs": 3, "batch": 7, "learning_rate": 1e-3, "max_length": 16, "seed": 3, "precision": "fp32"}
    tasks = [{**task.model_dump(), "name": task.name} for task in remember]
    values = {
        "name": "t",
        "start": {"model": "x"},
        "learn": {"train": "a.csv", "head": "mood", "unlabelled": "u.csv"},
        "remember": tasks,
    }
    training |= raw.pop("training", {})
    raw.setdefault("control", {"enabled": False})
    raw.setdefault("parameters", {"layers": {"count": 1}})  # what moves is the setup's own `chosen`
    return spec.parse({**values, **raw, "training": training}, tmp / "p.yaml").recipe


Make = Callable[..., Setup]


def maker(home: Home, tiny_start: Start, toy_rows: list[dict[str, str]], tmp_path: Path) -> Make:
    def make(
        chosen: Selection | None = None,
        start: Start = tiny_start,
        remember: tuple[spec.Remember, ...] = (),
        **raw: Any,
    ) -> Setup:
        model = models.load(start, home)
        if chosen is None:
            names = [n for n in model.encoder_parameters() if n.startswith("bert.encoder.layer.0.")]
            chosen = Selection(whole=frozenset(names))
        datasets = {
            "learn.train": rows.version(home, [r for i, r in enumerate(toy_rows) if i % 6]),
            "learn.valid": rows.version(home, toy_rows[::6]),
            "learn.unlabelled": rows.version(
                home, [{"id": r["id"], "text": f"{r['text']} and"} for r in toy_rows[::4]]
            ),
        }
        for task in remember:
            datasets[f"remember.{task.name}.valid"] = rows.version(home, toy_rows[1::3])
            if task.train:
                old = [{**row, "id": f"{task.name}{row['id']}"} for row in toy_rows[1::2]]
                datasets[f"remember.{task.name}.train"] = rows.version(home, old)
        validated = Validated(
            datasets=datasets,
            labels=LABELS,
            quarantined=0,
            expectations=(),
            competences=(),
            artifact=datasets["learn.train"].artifact,
        )
        general = {n: torch.full_like(p, 0.5).detach() for n, p in model.encoder_parameters().items()}
        assessed = put_importance(home, general)
        made = recipe(tmp_path, remember, **raw)
        return Setup(put_selection(home, chosen), assessed, validated, start, made, remember, home, chosen)

    return make


@pytest.fixture
def setup(home: Home, tiny_start: Start, toy_rows: list[dict[str, str]], tmp_path: Path) -> Make:
    """Make a `Setup`; keyword arguments are `chosen` (default: the first layer whole), `start`, `remember` and keys of
    the pipeline file."""
    return maker(home, tiny_start, toy_rows, tmp_path)


@pytest.fixture(scope="session")
def first_version(tmp_path_factory, tiny_start: Start, toy_rows: list[dict[str, str]]) -> tuple[Home, Tuned]:
    """A tuned tiny encoder with the head `mood`, and the home that it lies in."""
    folder = tmp_path_factory.mktemp("first-version")
    made = maker(homes.make(folder / "home"), tiny_start, toy_rows, folder)()
    return made.home, made.run()


@pytest.fixture(scope="session")
def expert(tmp_path_factory, tiny_start: Start, toy_rows: list[dict[str, str]]) -> tuple[Home, Tuned]:
    """A tiny encoder that has learned the toy task well, every weight moving, and the home that it lies in."""
    folder = tmp_path_factory.mktemp("expert")
    place = homes.make(folder / "home")
    every = Selection(whole=frozenset(models.load(tiny_start, place).encoder_parameters()))
    made = maker(place, tiny_start, toy_rows, folder)(every, training={"learning_rate": 5e-3, "epochs": 12})
    return place, made.run()


@pytest.fixture
def started(home: Home, tiny_start: Start, first_version: tuple[Home, Tuned]) -> Start:
    """A start model with the trained head `mood`, as a registered version would be, in this test's home."""
    source, tuned = first_version
    place = home.store.path(tuned.adapter)
    shutil.copytree(source.store.path(tuned.adapter), place)
    heads = {"mood": HeadInfo(labels=LABELS)}
    return tiny_start.model_copy(update={"model": "models:/t/1", "adapter": tuned.adapter, "heads": heads})
