"""One trial: the beginning of the tuning itself, leaving nothing behind."""

import dataclasses
import math

import pytest
import torch

from holdfast import adapters, inference, models, rows
from holdfast.auto import candidates, trial
from holdfast.forgetting.watch import Watch
from holdfast.importance import read
from holdfast.records import Start
from holdfast.training import tune

pytestmark = pytest.mark.slow


@pytest.fixture
def trials(given):
    found = given(epochs=2.5)
    return trial.Trials(found, tune.start_model(found))


@pytest.fixture
def high(trials, home, assessed):
    (found,) = candidates.ranked(trials.model, read.load(home, assessed), ("high",))
    return found.selection


def copies(model):
    return {name: p.detach().clone() for name, p in model.network.named_parameters()}


def test_work_is_counted_in_the_tokens_of_the_rows(trials, home, validated):
    texts = rows.texts(rows.read(home, validated.datasets["learn.train"]))
    epoch = sum(len(one["input_ids"]) for one in inference.encode(trials.model, texts, 16))
    per_epoch = math.ceil(len(texts) / 6)
    assert len(trials.tokens) == 1 + math.ceil(2.5 * per_epoch)
    assert trials.tokens[0] == 0 and trials.tokens[per_epoch] == epoch and trials.tokens[2 * per_epoch] == 2 * epoch


def files(home):
    """Every file but the start model's cached answers."""
    kept = [home.checkpoints, home.path / "artifacts", home.path / "cache"]
    found = {path.relative_to(home.path) for place in kept for path in place.rglob("*") if path.is_file()}
    return {path for path in found if path.suffix in {".safetensors", ".pt", ".bin"}}


def test_a_trial_leaves_the_start_model_and_no_weights_behind(trials, high, home):
    trials.watch.look()
    before, kept = copies(trials.model), files(home)
    first = trials.run(high, 3)
    assert all(torch.equal(before[name], value) for name, value in copies(trials.model).items())
    assert files(home) == kept and not list(home.checkpoints.rglob("*"))
    assert trials.run(high, 3) == first and first.target.loss != first.target.loss_before


def test_updates_are_as_many_as_asked(trials, high):
    steps = []
    trials.run(high, 4, lambda step, of, figures: steps.append((step, of)))
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_trial_as_long_as_the_tuning_is_the_tuning(trials, high, given, put, home):
    """The same look as at the adapter that the tune stage writes: same start, rows, order, rates and schedule."""
    whole = given(epochs=2.5, prefix_cache="off")
    look = trials.run(high, len(trials.tokens) - 1)
    selected = put(dataclasses.replace(high, seed=3), trials.model)
    tuned = tune.tune(selected, whole.assessed, whole.validated, whole.start, whole.recipe, whole.remember, home)
    folder = home.store.open(tuned.adapter)
    version = Start(model="x", base=whole.start.base, adapter=tuned.adapter, heads=adapters.info(folder))
    model = models.load_with_head(version, home, "mood", ("negative", "positive"), 3)
    seen = Watch(model, whole.start, whole.validated, whole.recipe, whole.remember, home).look()
    assert seen == look


def test_a_candidate_that_diverges_gives_no_look_and_the_next_one_starts_afresh(trials, high, monkeypatch):
    first = trials.run(high, 3)
    broken = trials.given.recipe.training.model_copy(update={"learning_rate": 1e30})
    recipe = trials.given.recipe.model_copy(update={"training": broken})
    with monkeypatch.context() as patch:
        patch.setattr(trials, "given", dataclasses.replace(trials.given, recipe=recipe))
        assert trials.run(high, 6) is None
    assert trials.run(high, 3) == first
