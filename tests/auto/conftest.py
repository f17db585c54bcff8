"""A tiny start model that knows a task, another task to learn, and everything that a choice is made from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast import adapters, models, rows, selection, spec
from holdfast.home import Home
from holdfast.importance import assess, probe
from holdfast.records import Assessed, Start, Validated
from holdfast.selection import Selection
from holdfast.training import job

LABELS = ("negative", "positive")
OLD = spec.Remember(name="old", train="old.csv", valid="old.csv", test="old.csv", head="mood", margin=0.1)


def swapped(found: list[dict[str, str]]) -> list[dict[str, str]]:
    """The rows with labels exchanged for those about food: part of what was known no longer holds."""
    other = dict(zip(LABELS, LABELS[::-1], strict=True))
    return [{**row, "label": other[row["label"]] if "food" in row["text"] else row["label"]} for row in found]


@pytest.fixture
def started(home: Home, tiny_start: Start, toy_rows: list[dict[str, str]]) -> Start:
    """A start model whose head `mood` was fitted on the toy rows."""
    model = models.load_with_head(tiny_start, home, "mood", LABELS, 3)
    probe.fit(model, toy_rows, LABELS, 16, 3)
    with home.store.scratch() as scratch:
        adapters.write(model, Selection(whole=frozenset(model.encoder_parameters())), tiny_start, home, scratch / "a")
        adapter = home.store.put(scratch / "a", "adapter")
    return tiny_start.model_copy(update={"adapter": adapter, "heads": adapters.info(home.store.open(adapter))})


@pytest.fixture
def validated(home: Home, toy_rows: list[dict[str, str]]) -> Validated:
    """The swapped task to learn, the toy task to remember."""
    learned = swapped(toy_rows)
    datasets = {
        "learn.train": rows.version(home, [row for i, row in enumerate(learned) if i % 4]),
        "learn.valid": rows.version(home, learned[::4]),
        "remember.old.train": rows.version(home, toy_rows[1::2]),
        "remember.old.valid": rows.version(home, toy_rows[::2]),
    }
    artifact = datasets["learn.train"].artifact
    return Validated(
        datasets=datasets, labels=LABELS, quarantined=0, expectations=(), competences=(), artifact=artifact
    )


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., spec.Recipe]:
    """Return a maker of recipes without a controller: four epochs of six batches unless `training` says otherwise."""

    def make(**training: Any) -> spec.Recipe:
        settings = {"epochs": 4, "batch": 6, "learning_rate": 5e-3, "max_length": 16, "seed": 3, "precision": "fp32"}
        values = {"name": "t", "start": {"model": "x"}, "learn": {"train": "a.csv", "head": "mood"}}
        values |= {"control": {"enabled": False}}  # a trial is not drawn back either
        return spec.parse({**values, "training": settings | training}, tmp_path / "p.yaml").recipe

    return make


@pytest.fixture
def assessed(home: Home, started: Start, validated: Validated, recipe: Callable[..., spec.Recipe]) -> Assessed:
    learn = spec.Learn(train="toy/train", head="mood")
    settings = spec.Assess(examples=16)
    return assess.assess(validated, started, settings, learn, (OLD,), recipe().training, False, home)


@pytest.fixture
def given(home, started, validated, assessed, recipe) -> Callable[..., job.Given]:
    """Return a maker of what a trial is given; keyword arguments are training settings."""

    def make(**training: Any) -> job.Given:
        return job.Given(None, assessed, validated, started, recipe(**training), (OLD,), home)

    return make


@pytest.fixture
def put(home: Home) -> Callable[[Selection, Any], Any]:
    """Return a function that keeps a selection as the select stage does."""
    return lambda chosen, model: selection.keep(chosen, model, {}, home)
