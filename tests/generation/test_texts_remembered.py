"""Texts as a remembered task: their log-likelihood per token, a contract in nats, seen kept and seen broken."""

import json

import numpy as np
import pytest
import torch

from holdfast import bases, models, spec
from holdfast.errors import BadInput
from holdfast.generation import items
from holdfast.records import Start
from holdfast.reports import words
from tests.generation.test_generation_spine import TRAINING, World

TEXTS = {"name": "texts", "valid": "texts-valid.csv", "test": "texts-test.csv", "metric": "likelihood", "margin": 0.1}


@pytest.fixture
def world(tmp_path, home, make_folder) -> World:
    base = make_folder(tmp_path / "base", "llama", hidden_size=48, initializer_range=0.08, tie_word_embeddings=True)
    for role, numbers in (("train", range(60)), ("valid", range(60, 80)), ("test", range(80, 110))):
        lines = [f"on day {n * 37 % 113} we went up the hill and down again\n" for n in numbers]
        (tmp_path / f"texts-{role}.csv").write_text("text\n" + "".join(lines))
    return World(tmp_path, home, base)


@pytest.mark.slow
def test_a_decoder_that_forgets_how_texts_go_breaks_the_contract(world):
    learn = {**world.colours, "unlabelled": "texts-train.csv"}
    tuned, _, _ = world.run(
        world.base, learn=learn, examples=["gold", {"domain-text": {"batch": 16}}], control={"enabled": False}
    )
    knows = world.base.model_copy(update={"model": "models:/c/1", "adapter": tuned.adapter})
    free = {"learn": world.moves, "remember": [TEXTS], "control": {"enabled": False}}
    _, scored, valid = world.run(knows, **free)
    (competence,), (lost,) = valid.competences, scored.remembered
    assert competence.chance == pytest.approx(-np.log(len(models.load(knows, world.home).tokenizer)))
    assert competence.lower > competence.chance and not lost.kept and lost.bound > lost.drop > 0.1 > 0
    assert lost.metric == "log-likelihood per token" and lost.n == 30 and lost.before < 0
    assert words.table(scored.target, scored.remembered)[1].cells[3].endswith(" nats")

    little = TRAINING | {"epochs": 1, "learning_rate": 1e-5}
    _, scored, _ = world.run(knows, **free | {"training": little})
    assert scored.remembered[0].kept and abs(scored.remembered[0].drop) < 0.1
    summary = json.loads((world.home.store.open(scored.artifact) / "summary.json").read_text())
    assert summary["remembered"][0]["nll"]["before"] == pytest.approx(-lost.before, abs=0.05)


def test_a_texts_score_is_the_mean_log_probability_of_its_tokens(tmp_path, home, make_folder):
    place = str(make_folder(tmp_path / "base", "llama"))
    model = models.load(Start(model=place, base=bases.resolve(place), task="generation"), home)
    texts = ["the end", "12 and 13 an other"]
    found = items.of(
        model, [{"id": "1", "prompt": t, "answer": t} for t in texts], items.Settings("likelihood", 64, "fp32")
    )
    for number, text in enumerate(texts):
        ids = [model.tokenizer.bos_token_id, *model.tokenizer(text, add_special_tokens=False)["input_ids"]]
        with torch.no_grad():
            rows = model.network(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
        wanted = np.mean([rows[place, token].item() for place, token in enumerate(ids[1:])])
        assert found.score[number] == pytest.approx(wanted, rel=1e-4)
    assert found.nll == pytest.approx(-found.log_probability.sum() / found.tokens.sum())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"learn": {"train": "a.jsonl", "metric": "likelihood"}}, "`likelihood` is of texts that are remembered"),
        ({"remember": [TEXTS | {"train": "texts-train.csv"}]}, "`remember.texts.train` is never read"),
        ({"remember": [TEXTS | {"prompt": "question"}]}, "`remember.texts.prompt` is never read"),
        ({"task": "classification", "remember": [TEXTS]}, "`remember.texts.metric` is never read"),
    ],
)
def test_texts_are_only_remembered(tmp_path, changes, said):
    raw = {"name": "x", "task": "generation", "start": {"model": "base"}, "learn": {"train": "a.jsonl"}}
    with pytest.raises(BadInput) as caught:
        spec.parse({**raw, **changes}, tmp_path / "x.yaml")
    assert said in str(caught.value)
