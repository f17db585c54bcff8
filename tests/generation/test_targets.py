"""S3FT's data: whose words every row gets, in every arm, and that the paraphrase prompt is never learned."""

import json
import sys
from pathlib import Path

import pytest
import torch

from holdfast.errors import BadInput
from holdfast.generation import encoding, greedy, judging, leaks, likelihood, prompts, targets
from holdfast.generation.greedy import Answer
from holdfast.generation.targets import SOURCE, Settings

from .conftest import TEMPLATE

ROWS = [{"id": str(i), "prompt": f"{i} + 2?", "answer": f"The answer is {i + 2}."} for i in range(6)]
SCAFFOLD = prompts.read("paraphrase")
OWN = {0: "2", 1: "1 + 2 = 3", 2: "wrong: 9", 3: "wrong: 9", 4: "wrong: 9", 5: "7 and it goes on"}
RESTATED = {0: "it is 2", 1: "it is 3", 2: "it is 4", 3: "Using the reference answer: 5", 4: "it is 7", 5: "it is 7"}
SOURCES = {
    "s3ft": {"self": [0, 1], "paraphrase": [2, 5], "gold": [3, 4]},
    "sdft": {"paraphrase": [0, 1, 2, 5], "gold": [3, 4]},
    "self-else-gold": {"self": [0, 1], "gold": [2, 3, 4, 5]},
    "self-only": {"self": [0, 1]},
    "gold-on-self-subset": {"gold": [0, 1]},
}
GENERATE = greedy.Settings(max_new_tokens=16, precision="fp32")


def accept(prompt: str, answer: str, row: dict) -> bool:
    return True


@pytest.fixture
def scripted(monkeypatch):
    """The model's answers, from a script; what it was asked is kept."""
    asked = []

    def say(start, model, given, settings, home):
        asked.extend(given)
        return [answer(prompt) for prompt in given]

    def answer(prompt: str) -> Answer:
        for i, row in enumerate(ROWS):
            if prompt == row["prompt"]:
                return Answer(OWN[i], 5, finished=i != 5)
            if row["prompt"] in prompt and row["answer"] in prompt:
                return Answer(RESTATED[i], 5, finished=True)
        raise AssertionError(prompt)

    monkeypatch.setattr(greedy, "kept", say)
    monkeypatch.setattr(greedy, "fits", lambda *given: True)
    return asked


def build(start, model, home, arm="s3ft", judge="number", rows=ROWS, **settings):
    how = Settings(arm=arm, **({"generate": GENERATE} | settings))
    return targets.build(start("llama", TEMPLATE), model("llama", TEMPLATE), rows, judging.parse(judge), how, home)


@pytest.mark.parametrize("arm", SOURCES)
def test_every_row_gets_the_words_of_its_arm(scripted, start, model, home, arm):
    found = build(start, model, home, arm)
    wanted = {i: source for source, rows in SOURCES[arm].items() for i in rows}
    words = {"self": OWN, "paraphrase": RESTATED, "gold": {i: row["answer"] for i, row in enumerate(ROWS)}}
    assert found.rows == [{**ROWS[i], "answer": words[wanted[i]][i], SOURCE: wanted[i]} for i in sorted(wanted)]
    shares = {source: len(SOURCES[arm].get(source, [])) / 6 for source in ("self", "paraphrase", "gold")}
    assert found.log["shares"] == pytest.approx({**shares, "dropped": 1 - sum(shares.values())})
    assert json.loads(json.dumps(found.log)) == found.log


def test_why_answers_were_not_taken_is_counted(scripted, start, model, home):
    refused = build(start, model, home).log["refused"]
    assert refused == {
        "self": {"judged wrong": 3, "unfinished": 1},
        "paraphrase": {"judged wrong": 1, "leaks the prompt": 1},
    }


def test_the_paraphrase_prompt_never_enters_what_is_learned(scripted, start, model, home):
    loaded = model("llama", TEMPLATE)
    found = build(start, model, home)
    assert any("reference" in prompt for prompt in scripted)  # it was used
    encoder = encoding.Encoder(loaded.tokenizer)
    for row in found.rows:
        text = loaded.tokenizer.decode(encoder.pair(row["prompt"], row["answer"]).input_ids)
        assert text == f"<s><user>{row['prompt']}<model>{row['answer']}<stop>"
        assert row["prompt"] == ROWS[int(row["id"])]["prompt"]
        assert "reference" not in text.lower()
        assert not any(line and line in text for line in SCAFFOLD.splitlines() if "{" not in line)


def test_likelihoods_and_lengths_are_those_under_the_start_model(scripted, start, model, home):
    found, loaded = build(start, model, home), model("llama", TEMPLATE)
    encoder = encoding.Encoder(loaded.tokenizer)

    def scored(rows) -> tuple[float, float]:
        values = []
        for row in rows:
            one = encoder.pair(row["prompt"], row["answer"])
            with torch.inference_mode():
                chances = loaded.network(input_ids=torch.tensor([one.input_ids])).logits[0].log_softmax(-1)
            values.append([float(chances[i - 1, t]) for i, t in enumerate(one.labels) if t != encoding.IGNORED])
        tokens = sum(map(len, values))
        return -sum(map(sum, values)) / tokens, tokens / len(values)

    for name, rows in {"targets": found.rows, "gold": ROWS}.items():
        nll, tokens = scored(rows)
        assert found.log[name]["nll"] == pytest.approx(nll, abs=1e-4)
        assert found.log[name]["tokens"] == pytest.approx(tokens)
    nll, tokens = scored([row for row in found.rows if row[SOURCE] == "paraphrase"])
    assert found.log["targets"]["by_source"]["paraphrase"] == pytest.approx({"nll": nll, "tokens": tokens}, abs=1e-4)


def test_an_answer_too_long_to_train_on_is_not_taken(scripted, start, model, home, monkeypatch):
    assert build(start, model, home, "self-else-gold", max_length=28).rows[0][SOURCE] == "self"
    monkeypatch.setitem(OWN, 0, "2" + " " * 20 + "= 2")
    found = build(start, model, home, "self-else-gold", max_length=28)
    assert found.rows[0][SOURCE] == "gold" and found.log["refused"]["self"]["too long"] == 1
    assert build(start, model, home, "self-else-gold", max_length=60).rows[0][SOURCE] == "self"


def test_no_own_answer_at_all_is_refused_where_nothing_else_may_be_learned(start, model, home):
    with pytest.raises(BadInput, match="nothing would be learned"):
        build(start, model, home, "self-only")


def test_the_whole_way_with_a_real_model_twice_the_same(start, model, home, monkeypatch):
    loaded = model("llama", TEMPLATE)
    head = loaded.network.get_output_embeddings()
    head.bias = torch.nn.Parameter(torch.zeros(head.weight.shape[0]))
    with torch.no_grad():
        head.bias[encoding.Encoder(loaded.tokenizer).end] = 7.0
    monkeypatch.setitem(sys.modules, "accepting", sys.modules[__name__])
    judge, how = judging.parse("accepting:accept"), Settings(generate=GENERATE)
    rows = [{"id": str(i), "prompt": f"{i} + {i}", "answer": str(2 * i), "more": [i]} for i in range(20)]
    first = targets.build(start("llama", TEMPLATE), loaded, rows, judge, how, home)
    shares = first.log["shares"]
    assert 0 < shares["self"] < 1 and shares["paraphrase"] == 0  # the paraphrase prompt does not fit into 128 tokens
    assert first.log["refused"]["paraphrase"]["prompt too long"] == round(20 * shares["gold"])
    wanted = greedy.answers(loaded, [row["prompt"] for row in rows], GENERATE)
    for row, new, said in zip(rows, first.rows, wanted, strict=True):
        kept = said.finished and said.text.strip()
        assert new == {**row, "answer": said.text if kept else row["answer"], SOURCE: "self" if kept else "gold"}
    monkeypatch.setattr(greedy, "_batch", None)  # everything is found again
    monkeypatch.setattr(likelihood, "of_tokens", None)
    assert targets.build(start("llama", TEMPLATE), loaded, rows, judge, how, home) == first


def test_a_model_judge_asks_the_start_model(scripted, start, model, home, monkeypatch):
    said = greedy.kept
    verdicts = []

    def say(start_, model_, given, settings, home_):
        if given and "Is the predicted answer right?" in given[0]:
            verdicts.extend(given)
            assert settings.max_new_tokens == 16
            return [Answer("yes" if "1 + 2 = 3" in prompt else "no", 1, True) for prompt in given]
        return said(start_, model_, given, settings, home_)

    monkeypatch.setattr(greedy, "kept", say)
    found = build(start, model, home, "self-else-gold", "model")
    assert [row[SOURCE] for row in found.rows] == ["gold", "self", "gold", "gold", "gold", "gold"]
    assert len(verdicts) == 5  # the unfinished answer is not judged


@pytest.mark.parametrize(
    ("answer", "leaks_it"),
    [
        ("It is 4.", False), ("According to the Reference Answer, it is 4.", True), ("In your response, say 4", True),
        ("Assistant: it is 4", True), ("Answer: 4", True), ("my response is 4", True), ("user : 4", True),
        ("Now answer the question yourself. 4", True), ("The users: 4", False), ("refer to page 4", False),
        ("the same result, in the words that you would choose yourself. 4", True), ("", False),
    ],
)  # fmt: skip
def test_what_leaks_the_scaffold(answer, leaks_it):
    assert (leaks.leak(answer, "2 + 2?", "4", SCAFFOLD) is not None) is leaks_it


def test_what_the_data_itself_says_is_no_leak():
    assert leaks.leak("see the reference answer", "where is the reference answer?", "there", SCAFFOLD) is None
    assert leaks.leak("Answer: 4", "2 + 2?", "Answer: 4", SCAFFOLD) is None


BUNDLED = Path(__file__).resolve().parents[2] / "data" / "base_model" / "paraphrase.txt"
SAID = {
    "It is so. Your own words: 4": True, "Your own words: 4": True, "your own words: 4": True, "**Reference:** 4": True,
    "4. Question: 2 + 2?": True, "it is 4 Question: 2 + 2?": True, "Your own words\n4": True, "4\nreference: 4": True,
    "2 + 2 = 4": False, "The answer is 4.": False, "my preference is 4": False, "no question, 4": False,
    "in a word of your own: 4": False, "The Final Question: 4": False, "of your own words 4 are good": False,
}  # fmt: skip


@pytest.mark.parametrize("said", SAID)
def test_the_bundled_prompt_is_never_learned_and_plain_answers_are(start, model, home, monkeypatch, said):
    monkeypatch.setattr(greedy, "fits", lambda *given: True)
    monkeypatch.setattr(greedy, "kept", lambda start, model, asked, *_: [Answer(said, 5, True) for _ in asked])
    rows = [{"id": "1", "prompt": "2 + 2?", "answer": "4"}]
    found = build(start, model, home, "sdft", rows=rows, paraphrase=BUNDLED)
    assert found.log["refused"]["paraphrase"] == ({"leaks the prompt": 1} if SAID[said] else {})
    assert found.rows[0]["answer"] == ("4" if SAID[said] else said)


@pytest.mark.parametrize(
    ("scaffold", "answer", "leaks_it"),
    [
        ("Q: {prompt}\nA: {gold}", "Q: 2 + 2?", True), ("Q: {prompt}\nA: {gold}", "so A: 4", False),
        ("The question\n{prompt}\nThe answer\n{gold}\nRestate", "The answer is 4.", False),
        ("The question\n{prompt}\nThe answer\n{gold}\nRestate", "The answer\n4", True),
        ("The question\n{prompt}\nThe answer\n{gold}\nRestate", "I restate 4", False),
        ("{prompt}\nResult: {gold}\nBe brief.", "4. Be brief.", True), ("{prompt} is {gold}.", "it is 4.", False),
        ("**Result:** {gold}\n{prompt}", "so it is. Result: 4", True), ("问题：{prompt}参考：{gold}", "参考：4", True),
        ("### Result\n{gold}\n---\n{prompt}", "---\nthe result is 4", False),
    ],
)  # fmt: skip
def test_short_lines_and_labels_of_a_scaffold(scaffold, answer, leaks_it):
    assert (leaks.leak(answer, "2 + 2?", "4", scaffold) is not None) is leaks_it


def test_a_label_of_the_data_itself_is_no_leak():
    scaffold = BUNDLED.read_text()
    assert leaks.leak("so. Question: 4", "Question: 2 + 2?", "4", scaffold) is None
    assert leaks.leak("Reference: 4", "2 + 2?", "Reference: 4", scaffold) is None
    assert leaks.leak("Reference: 4", "which reference?", "4", scaffold) == "Reference:"
