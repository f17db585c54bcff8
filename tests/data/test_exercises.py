"""The bundled exercises: the same bytes every time, right answers, nothing of the tests in what is pretrained on."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from holdfast.generation import encoding, numbers

ROOT = Path(__file__).resolve().parents[2]
MADE = ROOT / "data" / "made" / "exercises"
FILES = [(task, part) for task in ("addition", "subtraction", "strings") for part in ("train", "valid", "test")]
PROBLEM = re.compile(r"(\d+) ([-+*]) (\d+)")


@pytest.fixture(scope="module")
def exercises():
    """The module `data/make_exercises.py`."""
    sys.path.insert(0, str(ROOT / "data"))
    import make_exercises

    yield make_exercises
    sys.path.remove(str(ROOT / "data"))


def rows(task: str, part: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (MADE / task / f"{part}.jsonl").read_text().splitlines()]


def check(row: dict[str, str]) -> None:
    """Work an exercise out from its prompt alone."""
    arithmetic = PROBLEM.search(row["prompt"])
    if arithmetic:
        a, sign, b = int(arithmetic[1]), arithmetic[2], int(arithmetic[3])
        assert numbers.final(row["answer"]) == {"+": a + b, "-": a - b, "*": a * b}[sign], row
        for part in re.findall(r"(\d+) ([-+*]) (\d+) = (\d+)", row["answer"]):
            assert eval(f"{part[0]} {part[1]} {part[2]}") == int(part[3]), row
        return
    asked, _, word = row["prompt"].partition(": ")
    if asked == "Reverse":
        assert row["answer"] == "".join(reversed(word))
    elif asked == "Sort the letters":
        assert row["answer"] == "".join(sorted(word))
    elif asked == "How many letters":
        assert int(row["answer"]) == len(word)
    elif row["task"] == "stories":
        assert all(word in row["answer"] for word in re.findall(r"about (\w+), a (\w+)", row["prompt"])[0])
    else:
        assert row["answer"] == {"Copy": word, "Uppercase": word.upper()}[asked]


def test_making_again_gives_the_same_bytes(tmp_path):
    subprocess.run([sys.executable, ROOT / "data" / "make_exercises.py", "--out", tmp_path], check=True)
    there = {path.relative_to(MADE): path.read_bytes() for path in MADE.rglob("*") if path.is_file()}
    assert there == {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert len(there) == 10


@pytest.mark.parametrize(("task", "part"), FILES)
def test_every_answer_is_right(task, part):
    found = rows(task, part)
    assert len(found) == {"train": 300, "valid": 100, "test": 300}[part] == len({row["id"] for row in found})
    for row in found:
        check(row)
    assert {row["style"] for row in found} == {"words"} or task != "addition"


def test_the_mixture_is_right_and_holds_nothing_held_out(exercises):
    drawn = [exercises.exercise(number) for number in range(4000)]
    assert drawn[:10] == [exercises.exercise(number) for number in range(10)]
    for row in drawn:
        check(row)
    held = set()
    for task, part in FILES:
        for row in rows(task, part):
            found = PROBLEM.search(row["prompt"])
            held.add(exercises.problem(task, int(found[1]), int(found[3])) if found else row["prompt"])
    assert len(held) == 2100  # no problem twice, in no two files
    known = {"+": "addition", "-": "subtraction", "*": "multiplication"}
    for row in drawn:
        found = PROBLEM.search(row["prompt"])
        name = exercises.problem(known[found[2]], int(found[1]), int(found[3])) if found else row["prompt"]
        assert name not in held, row


def test_the_mixture_has_every_task_and_style_and_the_rare_one_is_rare(exercises):
    drawn = [exercises.exercise(number) for number in range(4000)]
    styles = Counter(row["style"] for row in drawn if row["task"] == "addition")
    assert set(styles) == {"bare", "sentence", "equation", "steps", "words"}
    assert 0 < styles["words"] / styles.total() < 0.04
    strings = {"reverse", "copy", "uppercase", "sort", "count"}
    arithmetic = {"addition", "subtraction", "multiplication"}
    assert {row["task"] for row in drawn} == strings | arithmetic | {"stories", "restate"}


def test_what_is_restated_is_in_the_shipped_scaffold_and_in_another_style(exercises):
    scaffold = (ROOT / "data" / "base_model" / "paraphrase.txt").read_text().rstrip("\n")
    pattern = re.escape(scaffold).replace(r"\{prompt\}", "(.*)").replace(r"\{gold\}", "(.*)")
    restated = [row for row in map(exercises.exercise, range(2000)) if row["task"] == "restate"]
    assert len(restated) > 100
    for row in restated:
        gold = re.fullmatch(pattern, row["prompt"])[2]
        assert gold != row["answer"] and numbers.same(gold, row["answer"])


def test_the_committed_tokenizer_is_the_made_one_and_reads_everything(exercises, tmp_path):
    from transformers import AutoTokenizer

    subprocess.run([sys.executable, ROOT / "data" / "make_tokenizer.py", "--out", tmp_path], check=True)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (ROOT / "data" / "base_model" / path.name).read_bytes(), path.name
    words = AutoTokenizer.from_pretrained(tmp_path)
    encoder = encoding.Encoder(words)
    assert words.decode([encoder.end]) == "<|end|>"
    for row in map(exercises.exercise, range(300)):
        one = encoder.pair(row["prompt"], row["answer"])
        assert words.decode(one.input_ids) == f"<|user|>{row['prompt']}<|assistant|>{row['answer']}<|end|>"
        assert words.decode([i for i in one.labels if i != encoding.IGNORED]) == f"{row['answer']}<|end|>"
        assert len(one.input_ids) < 512
