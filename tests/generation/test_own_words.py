"""`examples: self` at work: the pool holds the model's own answers where the judge accepts them, and says so."""

import pytest

from holdfast import bases, models, rows, spec
from holdfast.errors import BadInput
from holdfast.generation import greedy
from holdfast.records import Start
from holdfast.training import pool


def recipe(tmp_path, **changes):
    raw = {"name": "g", "task": "generation", "start": {"model": "b"}, "learn": {"train": "a.jsonl"}, **changes}
    return spec.parse(raw, tmp_path / "g.yaml").recipe


def test_accepted_answers_replace_the_gold_ones(tmp_path, home, make_folder):
    place = str(make_folder(tmp_path / "base", "llama"))
    start = Start(model=place, base=bases.resolve(place), task="generation")
    model = models.load(start, home)
    how = greedy.Settings(max_new_tokens=40, precision="fp32")
    prompts = [f"say {i}" for i in range(6)]
    said = greedy.answers(model, prompts, how)
    own = [i for i, answer in enumerate(said) if answer.finished and answer.text.strip()]
    data = [
        {"id": str(i), "prompt": prompt, "answer": f" {said[i].text.upper()} " if i in own else "gold"}
        for i, prompt in enumerate(prompts)
    ]
    datasets = {"learn.train": rows.version(home, data)}
    settings = {"examples": {"self": {"arm": "self-else-gold", "max_new_tokens": 40}}}
    chosen = recipe(tmp_path, **settings, training={"precision": "fp32"})
    made = pool.build(model, datasets, chosen, (), home, start)
    assert made.targets["shares"]["self"] == pytest.approx(len(own) / 6)
    assert made.targets["shares"]["gold"] == pytest.approx(1 - len(own) / 6)
    gold = pool.build(model, datasets, recipe(tmp_path), (), home, start)
    assert gold.targets is None
    assert [i for i in range(6) if made.tokens[i] != gold.tokens[i]] == own


def test_a_classifier_has_no_words_of_its_own(tmp_path):
    with pytest.raises(BadInput, match="needs `task: generation`"):
        recipe(tmp_path, task="classification", examples="self")


def test_prompt_files_lie_beside_the_pipeline_file(tmp_path):
    for name in ("j.txt", "p.txt"):
        (tmp_path / name).write_text("{prompt} {answer} {gold}")
    found = recipe(tmp_path, examples={"self": {"judge": {"model": {"prompt": "j.txt"}}, "paraphrase": "p.txt"}})
    assert found.examples["self"]["paraphrase"] == str(tmp_path / "p.txt")
    assert found.examples["self"]["judge"] == {"model": {"prompt": str(tmp_path / "j.txt")}}
    found = recipe(tmp_path, examples={"self": {"judge": {"model": "j.txt"}}})
    assert found.examples["self"]["judge"] == {"model": {"prompt": str(tmp_path / "j.txt")}}


def test_a_judges_file_lies_beside_the_pipeline_file(tmp_path):
    (tmp_path / "own.py").write_text("def good(prompt, answer, row):\n    return True\n")
    found = recipe(tmp_path, examples={"self": {"judge": "own.py:good"}})
    assert found.examples["self"]["judge"] == f"{tmp_path}/own.py:good"
