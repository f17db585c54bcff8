"""The named relatives of S3FT: each learns the words of the rows that its name says; and S3FT beside replay."""

import pytest

from holdfast import rows, spec
from holdfast.errors import BadInput
from holdfast.generation import greedy
from holdfast.generation.greedy import Answer
from holdfast.training import batches, pool

GOLD = {"1 + 1?": "It is 2.", "2 + 2?": "It is 4.", "3 + 3?": "It is 6."}
OWN = {"1 + 1?": "2", "2 + 2?": "5", "3 + 3?": "7"}  # right, wrong, wrong
RESTATED = {"1 + 1?": "two is 2", "2 + 2?": "four is 4", "3 + 3?": "six is 7"}  # right, right, wrong
LEARNED = {
    "full": ["It is 2.", "It is 4.", "It is 6."],
    "s3ft": ["2", "four is 4", "It is 6."],
    "sdft": ["two is 2", "four is 4", "It is 6."],
    "self-else-gold": ["2", "It is 4.", "It is 6."],
    "self-only": ["2"],
    "gold-on-self-subset": ["It is 2."],
}


@pytest.fixture
def scripted(monkeypatch):
    """What the start model says: its own answer to a prompt, its paraphrase to a prompt with the gold answer in it."""

    def say(start, model, asked, settings, home):
        return [Answer(answer(prompt), 3, finished=True) for prompt in asked]

    def answer(asked: str) -> str:
        prompt = next(prompt for prompt in GOLD if prompt in asked)
        return OWN[prompt] if asked == prompt else RESTATED[prompt]

    monkeypatch.setattr(greedy, "kept", say)
    monkeypatch.setattr(greedy, "fits", lambda *given: True)


def parse(tmp_path, **changes):
    learn = {"train": "a.jsonl", "metric": "number"}
    raw = {"name": "g", "task": "generation", "start": {"model": "b"}, "learn": learn, **changes}
    return spec.parse(raw, tmp_path / "g.yaml")


def build(pipeline, model, start, home, **more):
    data = [{"id": str(i), "prompt": prompt, "answer": gold} for i, (prompt, gold) in enumerate(GOLD.items())]
    datasets = {"learn.train": rows.version(home, data), **more}
    begun = start("llama").model_copy(update={"task": "generation"})
    return pool.build(model("llama"), datasets, pipeline.recipe, pipeline.remember, home, begun)


def learned(made, words) -> list[str]:
    """The answers whose tokens are learned."""
    return [
        words.decode([i for i in tokens["labels"] if i != -100], skip_special_tokens=True) for tokens in made.tokens
    ]


@pytest.mark.parametrize("method", LEARNED)
def test_a_method_learns_what_its_name_says(scripted, model, start, home, tmp_path, method):
    found = build(parse(tmp_path, method=method), model, start, home)
    assert learned(found, model("llama").tokenizer) == LEARNED[method]


def test_a_judge_of_the_files_own_leaves_the_method_what_it_is(tmp_path):
    for said in ({"self": {"judge": "exact"}}, [{"self": "exact"}]):
        assert parse(tmp_path, method="sdft", examples=said).examples["self"]["arm"] == "sdft"
    assert parse(tmp_path, method="sdft", examples="self").examples["self"]["arm"] == "sdft"
    assert parse(tmp_path, method="sdft", examples={"self": {"arm": "self-only"}}).examples["self"]["arm"] == (
        "self-only"
    )
    assert parse(tmp_path, method="sdft", examples="gold").examples == {"gold": {}}


def test_own_words_and_replayed_rows_are_drawn_together(scripted, model, start, home, tmp_path):
    old = {"name": "old", "train": "o.jsonl", "valid": "v.jsonl", "test": "t.jsonl"}
    pipeline = parse(tmp_path, method="s3ft", examples={"self": {}, "replay": 0.25}, remember=[old])
    data = [{"id": str(i), "prompt": f"copy {i}", "answer": f"{i}"} for i in range(4)]
    found = build(pipeline, model, start, home, **{"remember.old.train": rows.version(home, data)})
    said = learned(found, model("llama").tokenizer)
    assert said == [*LEARNED["s3ft"], "0", "1", "2", "3"]  # what is replayed stays as it is
    draw = batches.draws(pipeline.examples, [example.task for example in found.examples], 7)
    for epoch in range(4):
        drawn = draw(epoch)
        assert [i for i in drawn if i < 3] == [0, 1, 2] and sum(i >= 3 for i in drawn) == 1


def test_gold_answers_cannot_be_chosen_beside_what_takes_their_place(tmp_path):
    with pytest.raises(BadInput, match="takes the place of the gold answers"):
        parse(tmp_path, examples=["self", "gold"])
