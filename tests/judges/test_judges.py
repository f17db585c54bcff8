"""Judges on samples labelled by hand; a false accept would put a wrong target into training."""

import sys

import pytest

from holdfast import choices, spec
from holdfast.errors import BadInput
from holdfast.generation import judging, prompts
from holdfast.judges._case import Case

NUMBER = [  # (answer, gold, right)
    ("18", "18", True), ("The answer is 18.", "18", True), ("The answer is 18", "#### 18", True),
    ("16 - 3 - 4 = 9, and 9 * 2 = 18", "The answer is 18.", True), ("$18", "18 dollars", True), ("18.00", "18", True),
    ("18.0001", "18", False), ("1,000", "1000", True), ("1000", "1,000.00", True), ("10,00", "1000", False),
    ("-18", "18", False), ("18", "-18", False), ("−18", "-18", True), ("minus 18", "-18", False),
    ("19", "18", False), ("180", "18", False), ("8", "18", False), ("1 8", "18", False), ("18th", "18", False),
    ("eighteen", "18", False), ("", "18", False), ("I do not know", "18", False), ("x18", "18", False),
    ("The answer is 18. That took 3 steps.", "18", True), ("The answer is 17. No, 18.", "18", False),
    ("The answer is 17. Sorry, the answer is 18.", "18", True), ("The answer is not 18", "17", False),
    ("12 + 7 = 19", "19", True), ("12 + 7 = 19 + 0", "19", False), ("7 + 12 = 20", "19", False),
    ("12 plus 7 equals 19.", "The answer is 19", True), ("2 + 7 = 9, 1 + 0 = 1, so 19", "19", True),
    ("19, because 12 + 7", "19", False), ("19 = 12 + 7", "19", False), ("12 + 7", "19", False),
    ("50%", "50", True), ("0.5", "50%", False), ("1/2", "0.5", True), ("3/4", "4/3", False), ("1/0", "0", False),
    ("1e2", "100", True), (r"\boxed{42}", "42", True), (r"\boxed{41} or 42", "42", False), ("**42**", "42", True),
    ("#### 7\nNote: 3 apples are left", "7", True), ("7 apples", "7", True), ("7 of 9", "7", False),
    ("Answer: 7", "7", True), ("answer=7", "7", True), ("at 10:30", "10", False), ("v1.7", "7", False),
]  # fmt: skip


def accept(prompt: str, answer: str, row: dict) -> bool:
    return answer == prompt + row["mark"]


def unsure(prompt: str, answer: str, row: dict) -> object:
    return 1


def nobody(asked):
    raise AssertionError("this judge asks nobody")


def verdict(raw, answer: str, gold: str, ask=nobody, **row) -> bool:
    return judging.parse(raw).verdicts([Case(answer, {"prompt": "p", "answer": gold, **row})], ask)[0]


@pytest.mark.parametrize(("answer", "gold", "right"), NUMBER)
def test_number(answer, gold, right):
    assert verdict("number", answer, gold) is right


def test_number_with_a_tolerance():
    assert verdict({"number": 0.01}, "3.33", "10/3") and not verdict("number", "3.33", "10/3")


def test_number_refuses_gold_without_a_number():
    with pytest.raises(BadInput, match="row 2, key `answer`: the gold answer has no final number"):
        judging.parse("number").check([{"prompt": "a", "answer": "3"}, {"prompt": "b", "answer": "three"}])


def test_exact():
    assert verdict("exact", "The Cat!", "cat") and not verdict("exact", "cats", "cat")
    assert verdict({"exact": {"strict": True}}, " cat\n", "cat")
    assert not verdict({"exact": {"strict": True}}, "Cat", "cat")


def test_programs_are_judged_by_the_row_s_tests():
    rows = {"tests": ["assert f(1) == 2", "assert f(2) == 3"]}
    assert verdict("tests", "```python\ndef f(x): return x + 1\n```", "", **rows)
    assert not verdict("tests", "def f(x): return 2 * x", "", **rows)
    assert not verdict("tests", "import os; os._exit(0)", "", **rows)
    assert not verdict({"tests": {"seconds": 1}}, "while True: pass", "", **rows)


def test_tests_that_the_gold_answer_fails_are_refused():
    good = {"prompt": "", "answer": "x = 1", "tests": ["assert x == 1"]}
    judging.parse("tests").check([good])
    with pytest.raises(BadInput, match="row 2, key `tests`: the gold answer does not pass"):
        judging.parse("tests").check([good, {**good, "tests": "assert x == 2"}])
    for nothing in ([], "", [" ", "\n"]):
        with pytest.raises(BadInput, match="row 1, key `tests`: the row has no tests"):
            judging.parse("tests").check([{**good, "tests": nothing}])


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("yes", True), ("Yes.", True), (" **Yes**, it is", True), ("Correct", True), ("no", False), ("No, yes", False),
        ("incorrect", False), ("not correct", False), ("", False), ("yesterday", False), ("It is, yes", False),
        ("42", False), ("1. yes", True),
    ],
)  # fmt: skip
def test_the_model_s_verdict_is_its_first_word(said, right):
    assert verdict("model", "a", "b", lambda asked: [said]) is right


def test_the_model_sees_question_prediction_and_gold(tmp_path):
    asked = []
    verdict("model", "my {gold}", "the gold", lambda given: asked.extend(given) or ["no"])
    assert "p" in asked[0] and "my {gold}" in asked[0] and "the gold" in asked[0] and "{prompt}" not in asked[0]
    own = tmp_path / "own.txt"
    own.write_text("{gold}|{answer}|{prompt}\n")
    verdict({"model": str(own)}, "x", "y", lambda given: asked.extend(given) or ["no"])
    assert asked[1] == "y|x|p"
    key = judging.parse({"model": str(own)}).key()
    own.write_text("{gold}|{answer}|{prompt}?\n")
    assert judging.parse({"model": str(own)}).key() != key
    own.write_text("{gold} {prompt}")
    with pytest.raises(BadInput, match="no place for the answer"):
        verdict({"model": str(own)}, "x", "y", nobody)
    with pytest.raises(BadInput, match="cannot be read"):
        prompts.read("judge", tmp_path / "absent.txt")


@pytest.fixture
def plugin(monkeypatch):
    monkeypatch.setitem(sys.modules, "plugin_judge", sys.modules[__name__])
    return "plugin_judge:"


def test_a_judge_of_the_user_s_own(plugin):
    assert verdict(plugin + "accept", "p!", "", mark="!") and not verdict(plugin + "accept", "p?", "", mark="!")
    with pytest.raises(BadInput, match=r"said 1; expected True or False"):
        verdict(plugin + "unsure", "a", "b")
    judging.parse(plugin + "accept").check([{}])
    assert set(judging.parse(plugin + "accept").key()) == {"judge", "code"}


def test_a_judge_in_a_file_is_found_by_its_path_and_known_by_its_bytes(tmp_path):
    file = tmp_path / "own judge.py"
    file.write_text("def good(prompt, answer, row):\n    return answer == prompt + row['answer']\n")
    assert verdict(f"{file}:good", "pb", "b") and not verdict(f"{file}:good", "b", "b")
    key = judging.parse(f"{file}:good").key()
    file.write_text(file.read_text() + "\n")
    assert judging.parse(f"{file}:good").key() != key
    moved = (tmp_path / "elsewhere" / file.name, tmp_path / "wrong.py")
    moved[0].parent.mkdir()
    moved[0].write_bytes(file.read_bytes())
    assert judging.parse(f"{moved[0]}:good").key() == judging.parse(f"{file}:good").key()
    moved[1].write_text("def good(:\n")
    for name in (f"{tmp_path}/absent.py:good", f"{file}:bad", f"{moved[1]}:good"):
        with pytest.raises(BadInput, match="cannot be imported"):
            judging.parse(name)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1 / 0", "cannot be imported .ZeroDivisionError"), ("good = nothing", "cannot be imported .NameError"),
        ("raise RuntimeError('no')", "cannot be imported .RuntimeError: no"), ("exit(3)", "cannot be imported"),
        ("def good(prompt, answer): return True", "cannot be called as a judge; expected .*prompt, answer, row"),
        ("def good(*, row): return True", "cannot be called as a judge"),
        ("def good(a, b, c, d): return True", "cannot be called as a judge"),
        ("class good: pass", "cannot be called as a judge"),
    ],
)  # fmt: skip
def test_a_judge_that_cannot_be_used_is_refused_as_it_is_read(text, why, tmp_path):
    (tmp_path / "own.py").write_text(text)
    with pytest.raises(BadInput, match=f"`judge`.*own.py:good` {why}"):
        judging.parse(f"{tmp_path}/own.py:good")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("row['absent']", "failed .KeyError: 'absent'"), ("1 / 0", "failed .ZeroDivisionError"),
        ("int(answer)", "failed .ValueError"), ("exit()", "failed .SystemExit"), ("None", "said None; expected True"),
    ],
)  # fmt: skip
def test_a_judge_that_fails_is_named_with_the_row(text, why, tmp_path):
    (tmp_path / "own.py").write_text(f"def good(prompt, answer, row, *more):\n    return answer == 'a' or {text}\n")
    cases = [Case(answer, {"prompt": "p", "answer": "g"}, number) for number, answer in [(4, "a"), (7, "b")]]
    with pytest.raises(BadInput, match=f"row 7.*own.py:good` {why}"):
        judging.parse(f"{tmp_path}/own.py:good").verdicts(cases, nobody)


def test_a_judge_that_met_a_fault_of_the_machine_is_not_blamed(tmp_path):
    (tmp_path / "own.py").write_text("def good(prompt, answer, row):\n    raise MemoryError\n")
    with pytest.raises(MemoryError):
        verdict(f"{tmp_path}/own.py:good", "a", "b")


def test_what_is_no_judge_is_refused(plugin):
    for raw, why in [
        ("numbr", "Did you mean `number`"), (["number", "exact"], "2 judges are chosen"),
        (plugin + "no", "cannot be imp"), ("absent:f", "cannot be imported"), (".x:f", "cannot be imported"),
        (plugin + "NUMBER", "is not a function"), (None, "0 judges"),
        ({"exact": {"strikt": True}}, "Did you mean `strict`"),
    ]:  # fmt: skip
        with pytest.raises(BadInput, match=why):
            judging.parse(raw)


@pytest.fixture
def pipeline(tmp_path):
    """Return a function that reads a pipeline file with options of `self`."""

    def read(own):
        learn = {"train": "a.csv", "tests": "tests"}
        raw = {"name": "a", "task": "generation", "start": {"model": "m"}, "learn": learn, "examples": {"self": own}}
        return spec.parse(raw, tmp_path / "own.yaml")

    return read


@pytest.mark.parametrize("strict", ["strict", {"strict": True}])
def test_exact_may_be_strict(pipeline, strict):
    raw = pipeline({"judge": {"exact": strict}}).examples["self"]["judge"]
    assert judging.parse(raw).options == {"strict": True} and not verdict(raw, "The cat", "the cat")
    assert verdict({"exact": True}, "The cat", "the cat")


@pytest.mark.parametrize(
    ("judge", "key", "why"),
    [
        ({"tests": 5}, "tests", "takes no bare value, got 5"),
        ({"tests": "x"}, "tests", "takes no bare value, got 'x'"),
        ({"exact": "loose"}, "exact.strict", "valid boolean"), ({"number": "x"}, "number.tolerance", "valid number"),
        ({"model": {"prompt": 5}}, "model.prompt", "not a valid path"),
        ({"model": 5}, "model.prompt", "not a valid path"),
    ],
)  # fmt: skip
def test_an_option_that_a_judge_does_not_have_is_refused(pipeline, judge, key, why):
    with pytest.raises(BadInput, match=f"key `examples.self.judge.{key}`: .*{why}"):
        pipeline({"judge": judge})


@pytest.mark.parametrize(
    ("own", "key"),
    [
        ({"paraphrase": "own.txt"}, "paraphrase"), ({"judge": {"model": "own.txt"}}, "judge.model.prompt"),
        ({"judge": {"model": {"prompt": "own.txt"}}}, "judge.model.prompt"),
    ],
)  # fmt: skip
def test_a_prompt_that_cannot_be_used_is_refused_as_the_file_is_read(pipeline, own, key, tmp_path):
    file = tmp_path / "own.txt"
    for content, why in [(None, "No such file"), (b"\xff", "can't decode"), (b"{prompt}", "no place for the")]:
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(BadInput, match=f"key `examples.self.{key}`: {file}: the prompt .*{why}"):
            pipeline(own)
    file.write_text("{prompt} {answer} {gold}")
    assert str(file) in str(pipeline(own).examples)


@pytest.mark.parametrize(
    ("own", "key"),
    [
        ({"judge": "numbr"}, "judge.numbr"), ({"judge": "absent.py:good"}, "judge"),
        ({"judge": "absent:good"}, "judge"),
        ({"judge": {"numbr": True}}, "judge.numbr"), ({"judge": {"tests": {"second": 1}}}, "judge.tests.second"),
        ({"judge": {"tests": 5}}, "judge.tests"), ({"paraphrase": "absent.txt"}, "paraphrase"),
    ],
)  # fmt: skip
def test_the_pipeline_file_is_named(pipeline, own, key, tmp_path):
    with pytest.raises(BadInput) as told:
        pipeline(own)
    assert str(told.value).startswith(f"{tmp_path / 'own.yaml'}, key `examples.self.{key}`: ")


def test_every_judge_is_found():
    assert choices.names("judges") == ["exact", "model", "number", "tests"]
    assert all(judging.parse(name).key()["judge"] == name for name in choices.names("judges"))


def test_a_function_that_is_built_in_has_a_key(plugin):
    assert judging.parse("builtins:max").key() != judging.parse(f"{plugin}accept").key()
