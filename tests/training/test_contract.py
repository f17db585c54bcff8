"""The stage with a contract: the controller keeps it, within its budget, and a killed run comes to the same bytes."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from holdfast import choices, models, rows, spec
from holdfast.control import plan, trajectory
from holdfast.control.watcher import Watcher
from holdfast.forgetting.watch import Watch
from holdfast.records import HeadInfo
from holdfast.selection import Selection

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
OLD = spec.Remember(name="old", train="a.csv", valid="a.csv", test="a.csv", head="mood", margin=0.4)
TURNED = {"good", "nice", "bad", "nasty"}
CONTROL = {"budget": 1.0, "attempts": 1}


@pytest.fixture
def conflict(setup, home, tiny_start, expert, toy_rows):
    """A start model that does the toy task is to learn it with the labels of half the words turned round."""
    source, tuned = expert
    shutil.copytree(source.store.path(tuned.adapter), home.store.path(tuned.adapter))
    heads = {"mood": HeadInfo(labels=("negative", "positive"))}
    start = tiny_start.model_copy(update={"model": "models:/t/1", "adapter": tuned.adapter, "heads": heads})

    def make(**raw):
        turned = {"positive": "negative", "negative": "positive"}
        new = [{**row, "label": turned[row["label"]]} if TURNED & set(row["text"].split()) else row for row in toy_rows]
        names = frozenset(models.load(start, home).encoder_parameters())
        raw = {"chosen": Selection(whole=names), "control": CONTROL, **raw}
        raw["training"] = {"learning_rate": 5e-3, "epochs": 6, **raw.get("training", {})}
        tuning = setup(start=start, remember=(OLD,), **raw)
        tuning.validated.datasets["learn.train"] = rows.version(home, new)
        tuning.validated.datasets["learn.valid"] = rows.version(home, new)
        tuning.validated.datasets["remember.old.valid"] = rows.version(home, toy_rows)
        return tuning

    return make


def told(tuning, tuned):
    return trajectory.read(tuned.trajectory, tuning.home)


@pytest.fixture
def run_twice_broken(conflict, monkeypatch):
    """Return a function that runs a tuning, kills it at a look of the model, and runs it again."""

    def run(tuning, at: int):
        whole, looks, real = tuning.run(), [], Watch.look

        def dies(self):
            looks.append(1)
            if len(looks) == at:
                raise Killed
            return real(self)

        with monkeypatch.context() as patch:
            patch.setattr(Watch, "look", dies)
            with pytest.raises(Killed):
                tuning.run()
        return whole, tuning.run()

    return run


class Killed(Exception):
    pass


def without_times(found):
    """A trajectory without the seconds that it took."""
    if isinstance(found, dict):
        return {key: without_times(value) for key, value in found.items() if key not in ("seconds", "said")}
    return [without_times(item) for item in found] if isinstance(found, list) else found


def same(tuning, first, second) -> None:
    assert (second.adapter, second.curve, second.steps) == (first.adapter, first.curve, first.steps)
    assert without_times(told(tuning, second)) == without_times(told(tuning, first))


@pytest.mark.pictures
def test_uncontrolled_breaks_the_contract_and_controlled_keeps_it_with_a_gain(conflict) -> None:
    tuning = conflict(training={"seed": 11})
    tuned = tuning.run()
    found = told(tuning, tuned)
    end = next(c for c in found["candidates"] if c["name"] == "update 42")
    (chosen,) = (c for c in found["candidates"] if c["chosen"])
    assert not end["kept"]
    assert end["remembered"][0]["drop"] > 0.3
    assert chosen["kept"]
    assert chosen["target"]["gain"] > 0.1
    assert found["chosen"] == chosen["name"]
    assert found["why"].startswith("the largest gain of")
    assert all(0 < c["share"] <= 1 and c["step"] > 0 for c in found["candidates"]), "the start is never a candidate"
    version = tuning.start.model_copy(update={"adapter": tuned.adapter})
    again = models.load_with_head(version, tuning.home, "mood", ("negative", "positive"), 0)
    watching = Watch(again, tuning.start, tuning.validated, tuning.recipe, tuning.remember, tuning.home)
    look = watching.look()
    assert look.gain == pytest.approx(chosen["target"]["gain"], abs=1e-5), "what was written is what was chosen"
    assert look.remembered[0].drop == pytest.approx(chosen["remembered"][0]["drop"], abs=1e-5)
    assert (tuning.home.store.open(tuned.trajectory) / "trajectory.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tuning.home.checkpoints.glob("*"))


def test_the_budget_holds_in_work(conflict) -> None:
    tuning = conflict(control={"budget": 0.3, "attempts": 1})
    work = told(tuning, tuning.run())["spent"]["work"]
    assert 0 < work["controller"] <= 0.3 * work["tuning"]


def test_a_budget_that_pays_for_no_look_is_said_and_changes_nothing(conflict, monkeypatch) -> None:
    monkeypatch.setattr(plan, "LOOK", 0)
    monkeypatch.setattr(plan, "UPDATE", 0)  # a model this small spends all its time there
    tuning = conflict(control={"budget": 0.05})
    tuned = tuning.run()
    assert told(tuning, tuned)["said"] == "nothing was looked at: the budget does not pay for three looks"
    assert tuned.adapter == conflict(control={"enabled": False}).run().adapter


def test_looking_changes_nothing_of_the_tuning_itself(conflict) -> None:
    looked_at, alone = conflict(), conflict(control={"enabled": False})
    with_looks, without = looked_at.curve(looked_at.run()), alone.curve(alone.run())
    assert with_looks["steps"] == without["steps"]
    assert with_looks["valid"] == without["valid"]


@pytest.mark.parametrize("at", [2, 6])
def test_killed_at_a_look_it_comes_to_the_same_bytes(conflict, run_twice_broken, at: int) -> None:
    """The second look is along the way, the sixth at a candidate."""
    tuning = conflict(training={"checkpoints_per_epoch": 2})
    same(tuning, *run_twice_broken(tuning, at))


def test_nothing_is_looked_at_twice_by_the_process_that_goes_on(conflict, monkeypatch) -> None:
    tuning, real, looks = conflict(), Watch.look, []

    def counts(self):
        looks.append(1)
        if len(looks) == 6:
            raise Killed
        return real(self)

    monkeypatch.setattr(Watch, "look", counts)
    with pytest.raises(Killed):
        tuning.run()
    found = told(tuning, tuning.run())
    assert len(looks) == len(found["candidates"]) + 1


def test_where_nothing_keeps_it_tunes_again_with_a_firmer_anchor_and_says_so(conflict, monkeypatch) -> None:
    tuning = conflict(control={"budget": 1.0, "attempts": 2}, training={"epochs": 2})
    strict = replace(tuning, remember=(tuning.remember[0].model_copy(update={"margin": 0.05}),))
    real = Watch.look

    def breaks(self):
        look = real(self)
        return replace(look, remembered=tuple(replace(task, after=task.before - 0.1) for task in look.remembered))

    with monkeypatch.context() as patch:
        patch.setattr(Watch, "look", breaks)
        tuned = strict.run()
    found = told(strict, tuned)
    assert [attempt["anchors"] for attempt in found["attempts"]] == [{}, choices.parse("anchors", ["kl"], "anchors")]
    assert {c["attempt"] for c in found["candidates"]} == {1, 2}
    assert found["why"].startswith("none of")
    assert sum(c["chosen"] for c in found["candidates"]) == 1, "the least violating one is returned, and no error"
    assert not list(strict.home.checkpoints.glob("*"))


def test_killed_in_the_second_attempt_the_first_is_not_trained_again(conflict, run_twice_broken, monkeypatch) -> None:
    monkeypatch.setattr(Watcher, "in_vain", property(lambda self: True))  # whatever was learned on this processor
    tuning = conflict(control={"budget": 1.0, "attempts": 2, "looks": 2}, training={"epochs": 2})
    looks, real = [], Watch.look
    with monkeypatch.context() as patch:
        patch.setattr(Watch, "look", lambda self: looks.append(1) or real(self))
        assert {c["attempt"] for c in told(tuning, tuning.run())["candidates"]} == {1, 2}
    same(tuning, *run_twice_broken(tuning, len(looks)))  # the last look is the second attempt's, however many there are


@pytest.mark.parametrize("kind", ["lora", "mask", "patience", "new head"])
def test_every_kind_of_tuning_can_be_drawn_back_and_written(conflict, kind: str) -> None:
    layer = "encoder.layer.1"
    lora = {"r": 4, "lora_alpha": 8, "target_modules": [f"{layer}.attention.self.query", f"{layer}.output.dense"]}
    name = f"bert.{layer}.output.dense.weight"
    mask = torch.rand(32, 64, generator=torch.Generator().manual_seed(0)) < 0.5
    raw = {
        "lora": {"chosen": Selection(added=lora, seed=1), "training": {"learning_rate": 5e-2}},
        "mask": {"chosen": Selection(partial={name: mask})},
        "patience": {"training": {"patience": 1}},
        "new head": {"learn": {"train": "a.csv", "head": "fresh"}},
    }[kind]
    tuning = conflict(**raw)
    found = told(tuning, tuning.run())
    assert any(c["chosen"] for c in found["candidates"])


def test_too_large_valid_sets_are_sampled_and_that_is_said(conflict, monkeypatch) -> None:
    monkeypatch.setattr(plan, "LEAST_ROWS", 8)
    monkeypatch.setattr(plan, "LOOK", 0)
    monkeypatch.setattr(plan, "UPDATE", 0)
    tuning = conflict(control={"budget": 0.3, "attempts": 1})
    (attempt,) = told(tuning, tuning.run())["attempts"]
    assert all(8 <= some < every == 48 for some, every in attempt["rows"].values())


def test_without_a_contract_there_is_no_controller(setup, started, monkeypatch) -> None:
    monkeypatch.setattr(Watch, "look", None)
    assert setup(start=started, control={}).run().trajectory is None


def test_a_margin_is_part_of_the_key(conflict) -> None:
    tuning = conflict()
    other = replace(tuning, remember=(tuning.remember[0].model_copy(update={"margin": 0.2}),))
    assert other.key() != tuning.key() != replace(tuning, recipe=conflict(control={}).recipe).key()


_SCRIPT = """
import json, os, signal, sys
from pathlib import Path
from holdfast import home, records, spec
from holdfast.forgetting.watch import Watch
from holdfast.training import tune

looks, real = [], Watch.look

def dies(self):
    looks.append(1)
    if len(looks) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self)

Watch.look = dies
given = json.loads(Path(sys.argv[1]).read_text())
parts = [getattr(records, name)(**given[name]) for name in ("Selected", "Assessed", "Validated", "Start")]
remember = tuple(spec.Remember(**task) for task in given["remember"])
tune.tune(*parts, spec.Recipe(**given["Recipe"]), remember, home.Home(Path(given["home"])))
"""


def test_a_process_killed_by_the_system_during_a_look_is_continued_by_another(conflict, tmp_path) -> None:
    tuning = conflict()
    parts = (tuning.selected, tuning.assessed, tuning.validated, tuning.start, tuning.recipe)
    given = {type(part).__name__: part.model_dump(mode="json") for part in parts}
    given |= {"remember": [task.model_dump(mode="json") for task in tuning.remember], "home": str(tuning.home.path)}
    (tmp_path / "given.json").write_text(json.dumps(given))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-c", _SCRIPT, str(tmp_path / "given.json")]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    resumed = tuning.run()
    same(tuning, tuning.run(), resumed)
