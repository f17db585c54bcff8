"""The stages on a tiny decoder: it learns one task, then another while the first is remembered; resumed tunings too."""

import json
import shutil

import pytest
import torch

from holdfast import bases, digests, export, models, selection, spec
from holdfast.control import trajectory
from holdfast.forgetting import evaluate
from holdfast.generation import greedy
from holdfast.home import Home
from holdfast.importance import assess
from holdfast.records import Start
from holdfast.training import checkpoints, job, tune
from holdfast.validation import validate
from holdfast.versioning import prepare

COLOURS = {"red": "a", "blue": "b", "green": "x"}
MOVES = {"up": "c", "down": "d"}
TRAINING = {"epochs": 6, "learning_rate": 5e-3, "precision": "fp32", "batch": 16, "max_length": 32}


def write(folder, name, answers):
    for role, numbers in (("train", range(40)), ("valid", range(40, 55)), ("test", range(55, 90))):
        rows = [{"prompt": f"{key} {n * 37 % 101}", "answer": said} for n in numbers for key, said in answers.items()]
        (folder / f"{name}-{role}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {role: f"{name}-{role}.jsonl" for role in ("train", "valid", "test")} | {"max_new_tokens": 6}


class World:
    """A folder with data and a base, and one way to run a pipeline to its evaluation."""

    def __init__(self, folder, home: Home, base) -> None:
        self.folder, self.home = folder, home
        self.colours, self.moves = write(folder, "colours", COLOURS), write(folder, "moves", MOVES)
        self.base = Start(model=str(base), base=bases.resolve(str(base)), task="generation")

    def prepared(self, start: Start, **changes):
        raw = {"name": "g", "task": "generation", "start": {"model": "base"}, "assess": {"examples": 16}}
        pipeline = spec.parse({**raw, "training": TRAINING, **changes}, self.folder / "g.yaml")
        learn, remember, training = pipeline.learn, pipeline.remember, pipeline.training
        data = prepare.prepare(learn, remember, training.seed, self.home)
        valid = validate.validate(data, start, learn, remember, training.max_length, self.home)
        every = pipeline.needs_elementwise_importance()
        assessed = assess.assess(valid, start, pipeline.assess, learn, remember, training, every, self.home)
        given = job.Given(None, assessed, valid, start, pipeline.recipe, remember, self.home)
        chosen = selection.select(assessed, start, pipeline.parameters, "label", (), training.seed, self.home, given)
        return pipeline, valid, assessed, chosen

    def run(self, start: Start, **changes):
        pipeline, valid, assessed, chosen = self.prepared(start, **changes)
        tuned = tune.tune(chosen, assessed, valid, start, pipeline.recipe, pipeline.remember, self.home)
        scored = evaluate.evaluate(
            tuned, valid, start, None, pipeline.learn, pipeline.remember, pipeline.training, self.home
        )
        return tuned, scored, valid


@pytest.fixture
def world(tmp_path, home, make_folder) -> World:
    base = make_folder(tmp_path / "base", "llama", hidden_size=48, initializer_range=0.08, tie_word_embeddings=True)
    return World(tmp_path, home, base)


@pytest.mark.slow
def test_a_decoder_learns_a_second_task_and_keeps_the_first(world):
    tuned, scored, _ = world.run(world.base, learn=world.colours)
    assert scored.target.metric == "exact match" and scored.target.before == 0 and scored.target.after > 0.9
    knows = world.base.model_copy(update={"model": "models:/c/1", "adapter": tuned.adapter})
    asked = ["red 5", "blue 77", "green 3"]
    model = models.load(knows, world.home)
    answers = greedy.answers(model, asked, greedy.Settings(max_new_tokens=6, precision="fp32"))
    assert [answer.text for answer in answers] == ["a", "b", "x"]

    merged = export.export(knows, world.home, world.folder / "merged", merged=True)
    from transformers import AutoModelForCausalLM

    ids = torch.arange(10, 20).unsqueeze(0)
    again = AutoModelForCausalLM.from_pretrained(merged).eval()
    with torch.no_grad():
        assert torch.equal(again(input_ids=ids).logits, model.network(input_ids=ids).logits)

    tuned, scored, valid = world.run(
        knows,
        learn=world.moves,
        remember=[{**world.colours, "name": "colours", "margin": 0.1}],
        parameters={"layers": [-1], "layernorm": True},
        examples={"replay": 0.3},
        anchors={"kl": 1.0},
        control={"budget": 1.0},
    )
    assert valid.competences[0].accuracy > 0.9
    (kept,) = scored.remembered
    assert kept.kept and kept.before > 0.9 and scored.target.after > 0.9
    assert set(scored.kl) == {"target", "colours"} and scored.kl["target"] > scored.kl["colours"] > 0
    assert trajectory.read(tuned.trajectory, world.home)["chosen"]
    summary = json.loads((world.home.store.open(scored.artifact) / "summary.json").read_text())
    assert summary["remembered"][0]["entropy"]["before"] >= 0 and summary["target"]["nll"]["change"] < 0


@pytest.mark.slow
@pytest.mark.parametrize("parameters", ["full", {"lora": 2}, {"mask": 0.05}, {"heads": 2}, "embeddings", {"prefix": 2}])
def test_a_resumed_tuning_has_the_same_bytes(world, monkeypatch, parameters):
    settings = {"learn": world.colours, "parameters": parameters, "training": TRAINING | {"epochs": 1}}
    anchors = {} if parameters != "full" else {"anchors": {"l2sp": 0.1}, "objective": "target"}
    pipeline, valid, assessed, chosen = world.prepared(world.base, **settings, **anchors)
    given = (chosen, assessed, valid, world.base, pipeline.recipe, (), world.home)
    whole = tune.tune(*given)
    adapter = digests.of_folder(world.home.store.open(whole.adapter))
    monkeypatch.setattr(checkpoints, "discard", lambda root: None)

    def cut(step, total, figures):
        if step == 5:
            raise KeyboardInterrupt

    training = pipeline.recipe.training.model_copy(update={"checkpoints_per_epoch": 4})
    again = (*given[:4], pipeline.recipe.model_copy(update={"training": training}), *given[5:])
    with pytest.raises(KeyboardInterrupt):
        tune.tune(*again, cut)
    assert list(world.home.checkpoints.rglob("checkpoint-*"))
    resumed = tune.tune(*again)
    assert digests.of_folder(world.home.store.open(resumed.adapter)) == adapter
    shutil.rmtree(world.home.checkpoints)


@pytest.mark.slow
@pytest.mark.parametrize("parameters", [{"lora": {"kind": "corda", "r": 2}}, {"diff-pruning": {"epochs": 0.5}}])
def test_what_is_selected_by_data_is_selected_for_decoders_too(world, parameters):
    *_, chosen = world.prepared(world.base, learn=world.colours, parameters=parameters)
    assert 0 < chosen.moved < chosen.total


@pytest.mark.slow
def test_choices_and_programs_go_through_the_stages(world):
    """Programs that pass their tests are learned, and remembered while the right one among choices is learned."""
    programs = {"up": ("v=1", ["assert v == 1"]), "down": ("v=2", ["assert v == 2"])}
    for role, numbers in (("train", range(24)), ("valid", range(40, 46)), ("test", range(55, 65))):
        own = [
            {"prompt": f"{k} {n}", "answer": answer, "checks": checks}
            for n in numbers
            for k, (answer, checks) in programs.items()
        ]
        colours = [
            {"prompt": f"{k} {n}", "answer": answer, "options": [*COLOURS.values()]}
            for n in numbers
            for k, answer in COLOURS.items()
        ]
        for name, rows in (("own", own), ("choice", colours)):
            (world.folder / f"{name}-{role}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def files(name, **more):
        return {role: f"{name}-{role}.jsonl" for role in ("train", "valid", "test")} | {"max_new_tokens": 6, **more}

    wanted = files("own", metric="tests", tests="checks")
    training = TRAINING | {"epochs": 8}
    tuned, scored, _ = world.run(world.base, learn=wanted, training=training)
    assert scored.target.metric == "share of programs that pass" and scored.target.before == 0
    assert scored.target.after > 0.9
    knows = world.base.model_copy(update={"model": "models:/p/1", "adapter": tuned.adapter})
    tuned, scored, valid = world.run(
        knows,
        learn=files("choice", metric="choice", choices="options"),
        remember=[{**wanted, "name": "programs", "margin": 0.3}],
        examples={"replay": 0.4},
        control={"enabled": False},
        training=training,
    )
    assert valid.competences[0].accuracy > 0.9 and valid.competences[0].chance == 0
    assert scored.target.metric == "accuracy" and scored.target.after > scored.target.before
    (kept,) = scored.remembered
    assert kept.metric == "share of programs that pass" and kept.kept
    summary = json.loads((world.home.store.open(scored.artifact) / "summary.json").read_text())
    assert summary["target"]["chance"] == pytest.approx(1 / 3, abs=1e-6)
