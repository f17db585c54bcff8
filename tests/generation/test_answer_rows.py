"""Rows of prompts and answers: read, split, and set aside where they are bad."""

import json
from typing import Any

import pytest

from holdfast import rows as dataset_rows
from holdfast.errors import BadInput
from holdfast.spec import Learn, Remember
from holdfast.validation import validate
from holdfast.versioning import canonical, split

COLUMNS = {"prompt": "q", "answer": "a", "tests": None, "choices": None}


def test_rows_are_prompts_and_answers_whatever_their_columns_are_called():
    source = [{"q": "1+1", "a": "2", "label": "x", "prompt": "p"}]
    assert canonical.pairs(source, COLUMNS) == [
        {"id": "1", "prompt": "1+1", "answer": "2", "source.label": "x", "source.prompt": "p"}
    ]


@pytest.mark.parametrize(
    ("value", "read"), [(["a", "b"], ["a", "b"]), ('["a", "b"]', ["a", "b"]), ("assert f()", ["assert f()"])]
)
def test_lists_may_be_written_as_json_or_alone(value, read):
    found = canonical.pairs([{"q": "1", "a": "a", "t": value}], {**COLUMNS, "tests": "t"})
    assert found[0]["tests"] == read


@pytest.mark.parametrize("role", ["choices", "tests"])
@pytest.mark.parametrize("value", [3, [], [1], None, "", " \n", "[]", [""], ["", " "]])
def test_what_is_no_list_of_texts_is_named_with_its_row(value, role):
    with pytest.raises(BadInput, match="is not a list of texts") as caught:
        canonical.pairs([{"q": "1", "a": "a", "t": value}], {**COLUMNS, role: "t"}, "f.jsonl")
    assert caught.value.row == 1 and caught.value.key == "t"


def test_equal_prompts_stay_together_and_the_answer_does_not_matter():
    found = [{"id": str(i), "prompt": f"Prompt {i // 2}", "answer": str(i)} for i in range(60)]
    parts = split.split(found, {"valid": 0.1, "test": 0.2}, 7)
    assert {name: len(own) for name, own in parts.items()} == {"train": 42, "valid": 6, "test": 12}
    prompts = {name: {row["prompt"] for row in own} for name, own in parts.items()}
    assert not prompts["train"] & prompts["test"] and not prompts["valid"] & prompts["test"]
    other = [{**row, "answer": "same", "text": "t"} for row in found]
    assert [row["id"] for row in split.split(other, {"test": 0.2}, 7)["test"]] == [
        row["id"] for row in split.split(found, {"test": 0.2}, 7)["test"]
    ]


def asked(first: int, last: int) -> list[dict[str, str]]:
    return [{"id": str(i), "prompt": f"say {i}", "answer": f"it is {i}"} for i in range(first, last)]


@pytest.fixture
def checked(home, start):
    """Validate rows by dataset key from a random decoder with a window of 128 tokens."""

    def run(data, remember=(), **learn):
        section = Learn(train="train.jsonl", **{"metric": "exact", "max_new_tokens": 8, **learn})
        versions = {key: dataset_rows.version(home, own, ref=f"{key}.jsonl") for key, own in data.items()}
        begun = start("llama").model_copy(update={"task": "generation"})
        return validate.validate(versions, begun, section, remember, 40, home)

    return run


def test_bad_rows_are_set_aside_with_their_reasons(checked, home):
    bad = [
        {"id": "e", "prompt": " \u200b", "answer": "x"},
        {"id": "f", "prompt": "why", "answer": ""},
        {"id": "d", "prompt": "SAY 3", "answer": "it is 3"},
        {"id": "l", "prompt": "say 201", "answer": "so"},
        {"id": "t", "prompt": "long", "answer": "a" * 41},
    ]
    data = {"learn.train": asked(0, 95) + bad, "learn.valid": asked(100, 110), "learn.test": asked(200, 210)}
    found = checked(data)
    lines = (home.store.open(found.artifact) / "quarantine.jsonl").read_text().splitlines()
    reasons = {row["id"]: row["reasons"] for row in map(json.loads, lines)}
    assert list(reasons) == ["e", "f", "d", "l", "t"]
    assert reasons["e"][0] == "no-empty-text: the prompt is empty"
    assert reasons["f"][0] == "no-empty-text: the answer is empty"
    assert reasons["d"] == ["no-duplicates: the same prompt and answer as row 4"]
    assert reasons["l"] == ["no-leak-into-test: the same prompt stands in learn.test, row 2"]
    assert any("47 tokens with its answer, and there is room for 40" in why for why in reasons["t"])
    assert found.labels == () and found.datasets["learn.train"].labels == {}


QUESTIONS = {"learn.train": (0, 95), "learn.valid": (100, 110), "learn.test": (200, 210)}
REMEMBERED = {"remember.old.train": (300, 310), "remember.old.valid": (320, 330), "remember.old.test": (400, 480)}


def questions(*places: str) -> dict[str, list[dict[str, Any]]]:
    """Return questions with two choices, to be learned and remembered; those at `places` end with an unusable one."""
    spans = QUESTIONS | (REMEMBERED if any(place.startswith("remember") for place in places) else {})
    data = {
        key: [{**row, "choices": [row["answer"], "it is not"]} for row in asked(*span)] for key, span in spans.items()
    }
    for key in places:
        data[key][-1]["answer"] = "no"
    return data


@pytest.mark.parametrize("key", [*QUESTIONS, *REMEMBERED])
def test_an_answer_that_is_none_of_the_choices_is_told_with_its_file_and_row(checked, key):
    old = Remember(name="old", train="a.jsonl", valid="v.jsonl", test="t.jsonl", metric="choice")
    data = questions(key)
    where = rf"{key}.jsonl, row {len(data[key])}: 1 of .* answer-among-choices: the answer `no` is none of its choices"
    learn = {"valid": "v.jsonl", "test": "t.jsonl", "metric": "choice", "choices": "choices", "reject_at_most": 0.0}
    with pytest.raises(BadInput, match=where):
        checked(data, [old] if key in REMEMBERED else [], **learn)


@pytest.mark.parametrize(
    ("choices", "why"),
    [
        (["it is 94", " \u200b"], "one of its choices is empty"),
        (["it is 94", "no", "no"], "the choice `no` is there twice"),
        (["it is", "no"], "the answer `it is 94` is none of its choices"),
    ],
)
def test_questions_with_unusable_choices_are_set_aside_where_choices_are_read(checked, choices, why):
    data = questions()
    data["learn.train"][-1]["choices"] = choices
    found = checked(data, metric="choice", choices="choices")
    (told,) = [one for one in found.expectations if not one.success]
    assert (told.dataset, told.expectation, told.example) == ("learn.train", "answer-among-choices", f"row 95: {why}")
    assert found.datasets["learn.train"].rows == 94
    assert checked(data).quarantined == 0


def test_a_task_that_the_decoder_cannot_do_is_refused(checked):
    data = {"learn.train": asked(0, 95), "learn.valid": asked(100, 110), "learn.test": asked(200, 210)}
    data |= {"remember.old.valid": asked(300, 310), "remember.old.test": asked(400, 480)}
    old = Remember(name="old", valid="v.jsonl", test="t.jsonl", metric="exact", max_new_tokens=8)
    with pytest.raises(BadInput, match=r"cannot do `old`: on 10 valid rows its score is 0\.000 "):
        checked(data, [old])
