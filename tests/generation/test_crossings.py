"""Choices of different methods crossed in one file: six that run, six that are refused with the reason."""

import json

import pytest
import yaml

from holdfast import bases, digests, selection, spec
from holdfast import home as homes
from holdfast.errors import BadInput
from holdfast.forgetting import evaluate
from holdfast.importance import assess
from holdfast.records import Start
from holdfast.training import tune
from holdfast.validation import validate
from holdfast.versioning import prepare

TRAINING = {"epochs": 1, "learning_rate": 5e-3, "precision": "fp32", "batch": 16, "max_length": 32}
ANSWERS = {
    "old": {"red": "a", "blue": "b", "green": "x"},
    "new": {"up": "c", "down": "d"},
    # The start model answers blue rightly, with a small letter; x to `up` only where it is asked in green; never c.
    "own": {"blue blue": "B", "up": "X", "down": "c"},
}
OWN = {"self": {"paraphrase": "paraphrase.txt"}}


def rows(path, answers, numbers):
    made = [{"prompt": f"{key} {n * 37 % 101}", "answer": said} for n in numbers for key, said in answers.items()]
    path.write_text("".join(json.dumps(row) + "\n" for row in made))


class World:
    """A folder with a decoder that does one task, the data of that and of another, texts, and a home."""

    def __init__(self, folder, home, base) -> None:
        self.folder, self.home, self.start, self.checked = folder, home, base, {}

    def run(self, **changes):
        """Run one file's stages to its evaluation; the same data is prepared and validated once."""
        raw = {"name": "x", "task": "generation", "start": {"model": "base"}, "assess": {"examples": 12}}
        path = self.folder / "x.yaml"
        path.write_text(yaml.safe_dump({**raw, "control": {"enabled": False}, "training": TRAINING, **changes}))
        pipeline = spec.load(path)
        learn, remember, training = pipeline.learn, pipeline.remember, pipeline.training
        if learn.train not in self.checked:
            data = prepare.prepare(learn, remember, training.seed, self.home)
            valid = validate.validate(data, self.start, learn, remember, training.max_length, self.home)
            self.checked[learn.train] = valid
        valid, start, home = self.checked[learn.train], self.start, self.home
        every = pipeline.needs_elementwise_importance()
        assessed = assess.assess(valid, start, pipeline.assess, learn, remember, training, every, home)
        chosen = selection.select(assessed, start, pipeline.parameters, learn.head, valid.labels, training.seed, home)
        tuned = tune.tune(chosen, assessed, valid, start, pipeline.recipe, remember, home)
        return tuned, evaluate.evaluate(tuned, valid, start, None, learn, remember, training, home), chosen


@pytest.fixture(scope="module")
def world(tmp_path_factory, make_folder) -> World:
    folder = tmp_path_factory.mktemp("crossings")
    make_folder(folder / "base", "llama", hidden_size=48, initializer_range=0.08, tie_word_embeddings=True)
    base = Start(model=str(folder / "base"), base=bases.resolve(str(folder / "base")), task="generation")
    made = World(folder, homes.make(folder / "home"), base)
    parts = {"train": range(40), "valid": range(40, 55), "test": range(55, 90)}
    for name, answers in ANSWERS.items():
        for part, numbers in parts.items():
            rows(folder / f"{name}-{part}.jsonl", answers, numbers)
    (folder / "texts.csv").write_text("text\n" + "".join(f"go up {n} and down\n" for n in range(20)))
    (folder / "paraphrase.txt").write_text("green {gold} {prompt}")
    tuned, _, _ = made.run(learn=data("old"), training=TRAINING | {"epochs": 6})
    made.start = base.model_copy(update={"model": "models:/old/1", "adapter": tuned.adapter})
    return made


def data(task, **more):
    return {**{part: f"{task}-{part}.jsonl" for part in ("train", "valid", "test")}, "max_new_tokens": 4, **more}


CROSSED = {
    "self, circuit, psft, ewc": {
        "examples": OWN, "parameters": {"circuit": {"heads": 3}}, "objective": {"psft": 3}, "anchors": {"ewc": 2.0},
    },
    "domain text, mask, target, kl, slanted": {
        "examples": "domain-text", "parameters": {"mask": 0.1}, "objective": "target", "anchors": {"kl": {"batch": 4}},
        "schedule": "slanted",
    },
    "self and replay, lora, dft, discriminative": {
        "examples": [OWN, {"replay": 0.2}], "parameters": {"lora": 2}, "objective": "dft",
        "schedule": "discriminative",
    },
    "self and domain text, layers, asft, importance-scaled": {
        "examples": [OWN, "domain-text"], "parameters": {"layers": {"count": 1}}, "objective": "asft",
        "anchors": {"l2sp": 0.1}, "schedule": ["importance-scaled", "warmup"],
    },
    "replay, heads and norms, eaft, ewc, unfreezing under the controller": {
        "examples": {"replay": 0.3}, "parameters": {"heads": 2, "layernorm": True}, "objective": "eaft",
        "anchors": {"ewc": 1.0}, "schedule": "unfreezing", "control": {"budget": 1.0, "attempts": 1},
    },
    "replay, circuit and embeddings, sft-kl, l2sp, restarts": {
        "examples": {"replay": 0.3}, "parameters": {"circuit": 2, "embeddings": True}, "objective": "sft-kl",
        "anchors": {"l2sp": 0.5}, "schedule": "restarts",
    },
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CROSSED))
def test_crossings_run_from_one_file(world, name):
    home, task = world.home, "own" if "self" in name else "new"
    learn, remember = data(task, unlabelled="texts.csv"), [data("old", name="old", margin=0.2)]
    circuit = {"circuit": {"examples": 12, "held_out": 12, "precision": "fp32"}} if "circuit" in name else {}
    assessed = {"examples": 12, **circuit}
    tuned, scored, chosen = world.run(**CROSSED[name], learn=learn, remember=remember, assess=assessed)
    curve = json.loads((home.store.open(tuned.curve) / "curve.json").read_text())
    steps, targets = curve["steps"], curve["targets"]
    assert (targets is not None) == (task == "own")
    assert targets is None or all(targets["shares"][source] > 0 for source in ("self", "paraphrase", "gold"))
    assert len(steps) == tuned.steps and all(step["loss"] == step["loss"] for step in steps)
    terms = [*CROSSED[name].get("anchors", {}), *(["domain-text"] if "domain text" in name else [])]
    assert all(any(step[term] > 0 for step in steps) for term in terms)
    assert 0 < chosen.share < 1 and scored.remembered[0].before > 0.9 and scored.target.n == 35 * len(ANSWERS[task])
    adapter = digests.of_folder(home.store.open(tuned.adapter))
    assert "adapter_model.safetensors" in adapter
    assert ("controller" in name) == (tuned.trajectory is not None)


REFUSED = {
    "self with labels": (
        {"task": "classification", "examples": "self"},
        "`self` learns answers in the model's own words",
    ),
    "pseudo-labels of answers": ({"examples": "pseudo-labels"}, "`pseudo-labels` gives texts labels"),
    "ewc on lora": ({"parameters": "lora", "anchors": "ewc"}, "`ewc` anchors the start model's own weights"),
    "importance-scaled lora": ({"parameters": "lora", "schedule": "importance-scaled"}, "`lora` moves new low-rank"),
    "a circuit and everything": ({"parameters": ["full", "circuit"]}, "`full` moves everything"),
    "ewc by taylor": ({"anchors": "ewc", "assess": {"measure": "taylor"}}, "`ewc` weighs by Fisher information"),
    "lwf of a decoder": ({"anchors": "lwf", "objective": "psft"}, "`lwf` keeps the answers of old heads"),
    "two shapes in time": ({"schedule": ["slanted", "restarts", "importance-scaled"]}, "say how the learning rate"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_impossible_crossings_are_refused_with_the_reason(tmp_path, name):
    changes, said = REFUSED[name]
    old = {"name": "old", "train": "o.jsonl", "valid": "o.jsonl", "test": "o.jsonl"}
    raw = {"name": "x", "task": "generation", "start": {"model": "base"}, "remember": [old]}
    with pytest.raises(BadInput) as caught:
        spec.parse({**raw, "learn": {"train": "a.jsonl", "unlabelled": "u.csv"}, **changes}, tmp_path / "x.yaml")
    assert said in str(caught.value)
