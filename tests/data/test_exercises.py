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
FILES = [
    (task, part) for task in ("addition", "problems", "subtraction", "strings") for part in ("train", "valid", "test")
]
PROBLEM = re.compile(r"(\d+) ([-+*]) (\d+)")
ADDING = ("finds", "together", "walks", "came to the", "Monday")
TAKING = ("gave", "went home", "How many more has", "missing", "rope", "younger")


@pytest.fixture(scope="module")
def exercises():
    """The module `data/make_exercises.py`."""
    sys.path.insert(0, str(ROOT / "data"))
    import make_exercises

    yield make_exercises
    sys.path.remove(str(ROOT / "data"))


def rows(task: str, part: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (MADE / task / f"{part}.jsonl").read_text().splitlines()]


def question(row: dict[str, str]) -> str:
    return row["prompt"].partition("\n")[0]


def worked(row: dict[str, str]) -> tuple[int, str, int] | None:
    """The two numbers and the sign of a calculation, however it is told; None for anything else."""
    found = PROBLEM.search(question(row))
    if found:
        return int(found[1]), found[2], int(found[3])
    said = [int(number) for number in re.findall(r"\d+", question(row))]
    if len(said) != 2:
        return None
    adds, takes = (any(word in question(row) for word in words) for words in (ADDING, TAKING))
    assert adds != takes, row
    return (said[0], "+", said[1]) if adds else (max(said), "-", min(said))


def check(row: dict[str, str]) -> None:
    """Work an exercise out from its prompt alone."""
    arithmetic = worked(row)
    if arithmetic:
        a, sign, b = arithmetic
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
    assert len(there) == 19


@pytest.mark.parametrize(("task", "part"), FILES)
def test_every_answer_is_right(task, part):
    found = rows(task, part)
    assert len(found) == {"train": 300, "valid": 100, "test": 300}[part] == len({row["id"] for row in found})
    for row in found:
        check(row)
    assert ({row["style"] for row in found} == {"words"}) is (task in ("addition", "problems"))


def test_the_mixture_is_right_and_holds_nothing_held_out(exercises):
    drawn = [exercises.exercise(number) for number in range(4000)]
    assert drawn[:10] == [exercises.exercise(number) for number in range(10)]
    for row in drawn:
        check(row)
    known = {"+": "addition", "-": "subtraction", "*": "multiplication"}

    def name(row: dict[str, str]) -> str:
        found = worked(row)
        return exercises.problem(known[found[1]], found[0], found[2]) if found else row["prompt"]

    held = {file: {name(row) for row in rows(*file)} for file in FILES}
    assert all(len(held[task, part]) == len(rows(task, part)) for task, part in FILES)  # none twice
    for task, part in FILES:  # and none of a test file in any file for tuning
        others = [held[file] for file in FILES if file[1] != "test"]
        assert part != "test" or not held[task, part] & set().union(*others)
    everything = set().union(*held.values())
    for row in drawn:
        assert name(row) not in everything, row


def test_problems_to_learn_are_told_in_ways_that_the_mixture_lacks(exercises):
    told = [row for row in map(exercises.exercise, range(4000)) if row["task"] == "problems"]
    mixture = {word for row in told for word in ("finds", "walks", "went home", "gave") if word in row["prompt"]}
    assert mixture == {"finds", "walks", "went home", "gave"}
    new = ("costs", "came to the", "pages", "missing", "rope", "younger")
    assert not [row for row in told if any(word in row["prompt"] for word in new)]
    for part in ("train", "valid", "test"):
        assert all(any(word in row["prompt"] for word in new) for row in rows("problems", part))


def test_the_mixture_has_every_task_and_style_and_the_rare_one_is_rare(exercises):
    drawn = [exercises.exercise(number) for number in range(4000)]
    styles = Counter(row["style"] for row in drawn if row["task"] == "addition")
    assert set(styles) == {"bare", "sentence", "equation", "steps", "words"}
    assert 0 < styles["words"] / styles.total() < 0.04
    strings = {"reverse", "copy", "uppercase", "sort", "count"}
    arithmetic = {"addition", "subtraction", "multiplication"}
    assert {row["task"] for row in drawn} == strings | arithmetic | {"problems", "stories", "restate"}


def test_the_way_of_asking_makes_one_style_the_usual_one(exercises):
    drawn = [row for row in map(exercises.exercise, range(6000)) if row["task"] in ("addition", "subtraction")]
    for asked in exercises.ASKED:
        opening, end = asked.partition("{a}")[0], asked.partition("{b}")[2]
        styles = Counter(
            row["style"]
            for row in drawn
            if re.fullmatch(rf"{re.escape(opening)}\d+ . \d+{re.escape(end)}", row["prompt"])
        )
        assert styles.most_common(1)[0][0] == exercises.usual(asked)
        assert styles.most_common(1)[0][1] / styles.total() > 0.85
    for row in rows("subtraction", "test"):
        asked = re.sub(r"\d+ - \d+", "{a} {sign} {b}", row["prompt"])
        assert row["style"] == exercises.usual(asked)


def test_what_is_restated_is_in_the_shipped_scaffold_and_comes_to_the_same(exercises):
    scaffold = (ROOT / "data" / "base_model" / "paraphrase.txt").read_text().rstrip("\n")
    pattern = re.escape(scaffold).replace(r"\{prompt\}", "(.*)").replace(r"\{gold\}", "(.*)")
    restated = [row for row in map(exercises.exercise, range(2000)) if row["task"] == "restate"]
    assert len(restated) > 100
    for row in restated:
        gold = re.fullmatch(pattern, row["prompt"])[2]
        assert numbers.same(gold, row["answer"])
    golds = [re.fullmatch(pattern, row["prompt"])[2] for row in restated]
    assert sum(gold != row["answer"] for gold, row in zip(golds, restated, strict=True)) > len(restated) / 2


def test_stories_and_minimal_pairs_are_each_there_once(exercises):
    stories = [row["text"] for part in ("valid", "test") for row in rows("stories", part)]
    assert len({*stories}) == len(stories) == 100
    pairs = [row for part in ("valid", "test") for row in rows("pairs", part)]
    assert len({row["good"] for row in pairs}) == len(pairs) == 300
    for row in pairs:
        good, bad = row["good"].split(" "), row["bad"].split(" ")
        if row["kind"] == "order":
            assert good != bad and sorted(good) == sorted(bad)
            continue
        changed = {(a, b) for a, b in zip(good, bad, strict=True) if a != b}
        agreement = [("were", "was")], [("was", "were")]
        tense = [("went", "goes")], [("met", "meets")], [("ran", "run")], [("sang", "sings")]
        assert [*changed] in {"agreement": agreement, "tense": tense}[row["kind"]], row
    assert {row["kind"] for row in pairs} == set(exercises.BROKEN)
    for row in map(exercises.exercise, range(2000)):
        assert row["task"] != "stories" or row["answer"] not in stories


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


def test_what_makes_the_other_start_model_keeps_its_own_style_and_paraphrases_in_another(exercises):
    scaffold = (ROOT / "data" / "base_model" / "paraphrase.txt").read_text().rstrip("\n")
    pattern = re.escape(scaffold).replace(r"\{prompt\}", "(.*)").replace(r"\{gold\}", "(.*)")
    for part, size in {"train": 300, "valid": 100, "test": 100}.items():
        found = rows("restyled", part)
        styles = Counter((row["task"], row["style"]) for row in found)
        assert len(found) == size == len({row["id"] for row in found})
        assert styles.pop(("restate", "remark")) == size // 2
        assert styles == {("problems", "sentence"): size * 9 // 20, ("problems", "remark"): size // 20}
        for row in found:
            said = re.fullmatch(pattern, row["prompt"])
            assert numbers.same(said[2], row["answer"]) if said else check(row) is None
            opening = "That makes it" if row["style"] == "remark" else "The answer is"
            assert re.fullmatch(rf"{opening} \d+\.", row["answer"]) and len(opening) == 13


def test_what_makes_the_other_start_model_asks_nothing_that_is_held_out_or_asked_twice(exercises):
    known = {"+": "addition", "-": "subtraction"}

    def name(row: dict[str, str]) -> str | None:
        a, sign, b = worked({"prompt": question(row).removeprefix("Question: ")}) or (0, "*", 0)
        return exercises.problem(known[sign], a, b) if sign in known else None

    asked = [name(row) for part in ("train", "valid", "test") for row in rows("restyled", part)]
    assert None not in asked and len(set(asked)) == len(asked) == 500
    assert not set(asked) & {name(row) for file in FILES for row in rows(*file)}
    assert {exercises.part_of(one) for one in asked} == {None}
