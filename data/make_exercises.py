"""Make the bundled exercises: `python data/make_exercises.py` writes the same bytes every time.

Everything is synthetic: prompts with answers for small generative models, in four families.

- Arithmetic: addition and subtraction of numbers below 100 and small multiplication, in five answer styles: `bare`
  (19), `sentence` (The answer is 19.), `equation` (12 + 7 = 19), `steps` (10 + 0 = 10, 2 + 7 = 9, 10 + 9 = 19) and,
  rare, `words` (12 plus 7 equals 19.). How a prompt asks makes one of the styles its usual one.
- Problems: additions and subtractions told in a sentence or two, usually answered in the style `sentence`.
- Strings: reverse, copy, uppercase, sort the letters, count letters; of real and of random words.
- Stories: three or four sentences from a simple grammar.

`exercise(number, seed)` is one draw from the mixture of all, and of `restate` (a question and its reference answer, to
be answered as usual; the prompt is `data/base_model/paraphrase.txt`): `data/pretrain.py` learns from as many draws as
it has time for, and no file of them is kept.

`data/made/exercises/TASK/{train,valid,test}.jsonl` (id, prompt, answer, style, task) are for tuning and testing:
`addition` and `problems` in the rare style `words`, to be learned, the problems told in ways that the mixture lacks;
`subtraction` and `strings` in the mixture's usual styles, not to be forgotten. Their operands are held out of the
mixture (by a hash), and those of test out of train. `stories/{valid,test}.jsonl` (id, text) are text to measure
likelihoods on, `pairs/{valid,test}.jsonl` (id, good, bad, kind) sentences of stories, each beside one with the word
order, the agreement or the tense broken: minimal pairs.

`restyled` there makes another start model (`benchmarks/frontier/restyled-start.yaml`), whose paraphrase is not what it
would answer by itself: half of it are rows of `restate` to be answered in a style of its own, `remark` (That makes it
19.), which is as long as a `sentence` and says no more; half are problems told in the new ways, nine of ten answered in
the style `sentence`, one as a `remark`. Its operands are those of the mixture.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

SEED = 20261121
SIZES = {"train": 300, "valid": 100, "test": 300}
RESTYLED = {"train": 300, "valid": 100, "test": 100}
TASKS = ("addition", "problems", "subtraction", "strings")
RARE = "words"
REMARK = "That makes it {result}."  # the style `remark`
STORIES = {"test": 60, "valid": 40}
PAIRS = {"valid": 100, "test": 200}
HERE = Path(__file__).resolve().parent

SIGNS = {"addition": ("+", "plus"), "subtraction": ("-", "minus"), "multiplication": ("*", "times")}
MIXTURE = {
    "addition": 29, "subtraction": 21, "multiplication": 4, "problems": 7, "strings": 28, "stories": 3, "restate": 8,
}  # fmt: skip
STYLES = ("bare", "sentence", "equation", "steps", "words")
ASKED = {  # how a prompt asks: weights of the styles
    "What is {a} {sign} {b}?": (4, 90, 2, 2, 2),
    "{a} {sign} {b} =": (92, 2, 2, 2, 2),
    "Calculate {a} {sign} {b}.": (2, 2, 92, 2, 2),
    "Work out {a} {sign} {b} step by step.": (0, 2, 2, 94, 2),
}
TOLD = (4, 90, 2, 2, 2)  # the styles of problems
PROBLEMS = {
    "addition": (
        "{name} has {a} {thing}s and finds {b} more. How many {thing}s are there now?",
        "There are {a} {animal}s and {b} {other}s. How many are there together?",
        "{name} walks {a} miles and then {b} miles. How far is that?",
    ),
    "subtraction": (
        "{name} had {a} {thing}s and gave {b} away. How many are left?",
        "Of {a} {animal}s in the {place}, {b} went home. How many stayed?",
        "{name} has {a} {thing}s and the {animal} has {b}. How many more has {name}?",
    ),
}
NEW_PROBLEMS = {  # not in the mixture
    "addition": (
        "A {thing} costs {a} coins and a book costs {b} coins. What do they cost together?",
        "{b} {animal}s came to the {place}, where {a} {other}s were. How many animals is that?",
        "On Monday {name} read {a} pages, on Tuesday {b}. How many pages did {name} read?",
    ),
    "subtraction": (
        "{name} wants {a} {thing}s and already has {b}. How many are missing?",
        "A rope is {a} feet long. The {animal} bites off {b} feet. How long is the rest?",
        "{name} is {a} years old. The {animal} is {b} years younger. How old is the {animal}?",
    ),
}
STRINGS = {
    "reverse": "Reverse: {word}",
    "copy": "Copy: {word}",
    "uppercase": "Uppercase: {word}",
    "sort": "Sort the letters: {word}",
    "count": "How many letters: {word}",
}
WORDS = [
    "apple", "bread", "chair", "dance", "eagle", "flame", "grape", "house", "island", "jungle", "kettle", "lemon",
    "mirror", "needle", "orange", "paper", "queen", "river", "stone", "table", "uncle", "violin", "window", "yellow",
    "zebra", "bridge", "candle", "dinner", "engine", "forest", "garden", "hammer", "insect", "jacket", "ladder",
]  # fmt: skip
NAMES = ["Mia", "Ben", "Lena", "Tom", "Ada", "Max", "Nora", "Sam", "Ivy", "Leo"]
ANIMALS = ["cat", "dog", "bird", "fox", "duck", "frog", "mouse", "pony"]
PLACES = ("park", "garden", "forest", "house by the sea", "old barn", "little town")
THINGS = ["ball", "kite", "boat", "drum", "book", "lamp", "cake", "hat"]
COLOURS = ["red", "blue", "green", "yellow", "white", "black"]
FEELINGS = ["happy", "sad", "tired", "proud", "scared", "glad"]
MIDDLES = (
    "{name} saw a {colour} {thing} in the {place}.",
    'The {animal} said, "Do you want to play with my {thing}?"',
    "They ran and ran until {name} was very {feeling}.",
    "But the {thing} was too big for the {animal}.",
    "{name} gave the {colour} {thing} to the {animal}.",
    "Then it began to rain, and they hid in the {place}.",
    "The {animal} was {feeling}, so {name} sang a song.",
)

BROKEN = {  # a kind of minimal pair: what of a good sentence stands in the bad one as what
    "agreement": ((" were ", " was "), (" was ", " were ")),
    "tense": (
        (" went home", " goes home"),
        (" met ", " meets "),
        (" ran and ran ", " run and run "),
        (" sang ", " sings "),
    ),
    "order": ((" the ", None),),  # the word after it comes before it
}

Exercise = dict[str, str]


def exercise(number: int, seed: int = SEED) -> Exercise:
    """Return draw `number` from the mixture: prompt, answer, style and task; nothing that is held out."""
    rng = random.Random(f"{seed}/mixture/{number}")
    task = rng.choices(list(MIXTURE), list(MIXTURE.values()))[0]
    if task == "restate":
        return _restated(rng)
    return _draw(task, rng, lambda problem: part_of(problem) is None)


def problem(task: str, a: int, b: int) -> str:
    """Return the name of a problem, by which it is held out: the same for 3 + 4 and 4 + 3."""
    first, second = (a, b) if task == "subtraction" else sorted((a, b))
    return f"{first} {task} {second}"


def part_of(name: str) -> str | None:
    """Return which files a problem is kept for: `test`, `tuning` (train and valid), or None for the mixture."""
    return {0: "test", 1: "tuning"}.get(hashlib.sha256(name.encode()).digest()[0] % 10)


def arithmetic(task: str, a: int, b: int, style: str) -> str:
    """Return the answer to `a` (+, - or *) `b` in a style."""
    sign, word = SIGNS[task]
    result = {"+": a + b, "-": a - b, "*": a * b}[sign]
    return {
        "bare": f"{result}",
        "sentence": f"The answer is {result}.",
        "equation": f"{a} {sign} {b} = {result}",
        "steps": _steps(sign, a, b),
        "words": f"{a} {word} {b} equals {result}.",
        "remark": REMARK.format(result=result),
    }[style]


def _steps(sign: str, a: int, b: int) -> str:
    """Return the working by tens and ones: b is taken apart, for + a too."""
    high, low = b // 10 * 10, b % 10
    if sign == "+":
        top, rest = a // 10 * 10 + high, a % 10 + low
        return f"{a // 10 * 10} + {high} = {top}, {a % 10} + {low} = {rest}, {top} + {rest} = {a + b}"
    if sign == "-":
        return f"{a} - {high} = {a - high}, {a - high} - {low} = {a - b}"
    return f"{a} * {high} = {a * high}, {a} * {low} = {a * low}, {a * high} + {a * low} = {a * b}"


def string(kind: str, word: str) -> str:
    """Return the answer to a string task."""
    return {
        "reverse": word[::-1],
        "copy": word,
        "uppercase": word.upper(),
        "sort": "".join(sorted(word)),
        "count": str(len(word)),
    }[kind]


def story(rng: random.Random) -> Exercise:
    """Return a story, and the prompt that asks for it."""
    name, animal, thing = rng.choice(NAMES), rng.choice(ANIMALS), rng.choice(THINGS)
    slots = {"name": name, "animal": animal, "thing": thing, "place": rng.choice(PLACES)}
    first = "One day {name} went to the {place} and met a {colour} {animal}."
    last = "In the end {name} and the {animal} were {feeling} and went home."
    sentences = [first, *rng.sample(MIDDLES, rng.randrange(1, 3)), last]
    text = " ".join(s.format(**slots, colour=rng.choice(COLOURS), feeling=rng.choice(FEELINGS)) for s in sentences)
    return _row(f"Tell a story about {name}, a {animal} and a {thing}.", text, "story", "stories")


def _draw(task: str, rng: random.Random, wanted: Callable[[str], bool], style: str | None = None) -> Exercise:
    """Return an exercise of a task whose problem is `wanted`, in `style` or one that its prompt makes likely."""
    if task == "stories":
        return story(rng)
    if task != "strings":
        return _asked(task, *_operands(task, rng, wanted), rng, style)
    while True:
        kind, word = rng.choice(list(STRINGS)), _word(rng)
        if wanted(f"{kind} {word}"):
            return _row(STRINGS[kind].format(word=word), string(kind, word), "bare", kind)


def _operands(task: str, rng: random.Random, wanted: Callable[[str], bool]) -> tuple[str, int, int]:
    """Return the operation and the numbers of a `wanted` problem."""
    kind = rng.choice(list(PROBLEMS)) if task == "problems" else task
    while True:
        a, b = _numbers(kind, rng)
        if wanted(problem(kind, a, b)):
            return kind, a, b


def _asked(task: str, kind: str, a: int, b: int, rng: random.Random, style: str | None = None) -> Exercise:
    """Return a problem with a prompt for it; in a `style` of the files, problems are told in their ways."""
    ways = (NEW_PROBLEMS if style else PROBLEMS)[kind] if task == "problems" else tuple(ASKED)
    asked = rng.choice(ways)
    chosen = style or rng.choices(STYLES, ASKED.get(asked, TOLD))[0]
    chosen = usual(asked) if chosen == "usual" else chosen
    animal, other = rng.sample(ANIMALS, 2)
    slots = {"name": rng.choice(NAMES), "animal": animal, "other": other}
    slots |= {"thing": rng.choice(THINGS), "place": rng.choice(PLACES), "sign": SIGNS[kind][0]}
    return _row(asked.format(a=a, b=b, **slots), arithmetic(kind, a, b, chosen), chosen, task)


def _numbers(task: str, rng: random.Random) -> tuple[int, int]:
    if task == "multiplication":
        return rng.randrange(2, 13), rng.randrange(2, 13)
    a, b = (rng.randrange(10 ** rng.choices((1, 2), (20, 80))[0]) for _ in range(2))
    return (max(a, b), min(a, b)) if task == "subtraction" else (a, b)


def _word(rng: random.Random) -> str:
    if rng.random() < 0.3:
        return rng.choice(WORDS)
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randrange(3, 8)))


def _restated(
    rng: random.Random,
    wanted: Callable[[str], bool] = lambda problem: part_of(problem) is None,
    style: str | None = None,
) -> Exercise:
    """Return an exercise with its answer in any style, to be answered in `style`, else one its prompt makes likely."""
    task = rng.choice(("addition", "subtraction", "problems"))
    kind, a, b = _operands(task, rng, wanted)
    row = _asked(task, kind, a, b, rng)
    scaffold = (HERE / "base_model" / "paraphrase.txt").read_text(encoding="utf-8").rstrip("\n")
    gold = arithmetic(kind, a, b, rng.choice(STYLES))
    filled = scaffold.replace("{gold}", gold).replace("{prompt}", row["prompt"])
    answer = arithmetic(kind, a, b, style) if style else row["answer"]
    return _row(filled, answer, style or row["style"], "restate")


def _row(prompt: str, answer: str, style: str, task: str) -> Exercise:
    return {"prompt": prompt, "answer": answer, "style": style, "task": task}


def split(task: str) -> Iterator[tuple[str, list[Exercise]]]:
    """Yield (train, valid or test; its rows): every problem once."""
    rng = random.Random(f"{SEED}/{task}")
    seen: set[str] = set()

    def new(part: str) -> Callable[[str], bool]:
        def wanted(name: str) -> bool:
            fits = part_of(name) == part and name not in seen
            seen.update([name] if fits else [])
            return fits

        return wanted

    for name, size in SIZES.items():
        wanted = new("test" if name == "test" else "tuning")
        yield name, [{"id": f"{name}-{i:03}", **_draw(task, rng, wanted, _style(task))} for i in range(size)]


def restyled() -> Iterator[tuple[str, list[Exercise]]]:
    """Yield (train, valid or test; its rows) of what the other start model learns: every problem once."""
    rng = random.Random(f"{SEED}/restyled")
    seen: set[str] = set()

    def wanted(name: str) -> bool:
        fits = part_of(name) is None and name not in seen
        seen.update([name] if fits else [])
        return fits

    def row(place: int) -> Exercise:
        if place % 2 == 0:
            return _restated(rng, wanted, "remark")
        return _draw("problems", rng, wanted, "remark" if place % 20 == 1 else "sentence")

    for part, size in RESTYLED.items():
        yield part, [{"id": f"{part}-{i:03}", **row(i)} for i in range(size)]


def _style(task: str) -> str | None:
    return RARE if task in ("addition", "problems") else "usual"


def usual(asked: str) -> str:
    """Return the style in which a way of asking is usually answered."""
    weights = ASKED.get(asked, TOLD)
    return STYLES[weights.index(max(weights))]


def pairs() -> Iterator[tuple[str, list[Exercise]]]:
    """Yield (valid or test; its minimal pairs): every good sentence once."""
    rng = random.Random(f"{SEED}/pairs")
    seen: set[str] = set()
    for name, size in PAIRS.items():
        rows: list[Exercise] = []
        while len(rows) < size:
            good = rng.choice(re.split(r"(?<=[.\"]) ", story(rng)["answer"]))
            kind = rng.choice(list(BROKEN))
            bad = broken(good, kind)
            if bad is not None and good not in seen:
                seen.add(good)
                rows.append({"id": f"{name}-{len(rows):03}", "good": good, "bad": bad, "kind": kind})
        yield name, rows


def broken(good: str, kind: str) -> str | None:
    """Return a sentence with one thing wrong, None where it has nothing to break of this kind."""
    for right, wrong in BROKEN[kind]:
        before, found, after = good.partition(right)
        if found and wrong is not None:
            return before + wrong + after
        if found:
            word, _, rest = after.partition(" ")
            return f"{before} {word} the {rest}" if rest else None
    return None


def make(folder: Path) -> None:
    """Write every file under `folder`."""
    for task in TASKS:
        for name, rows in split(task):
            _write(folder / task / f"{name}.jsonl", [json.dumps(row, ensure_ascii=False) for row in rows])
    for name, rows in restyled():
        _write(folder / "restyled" / f"{name}.jsonl", [json.dumps(row, ensure_ascii=False) for row in rows])
    rng = random.Random(f"{SEED}/stories")
    for name, size in STORIES.items():
        texts = [{"id": f"{name}-{i:03}", "text": story(rng)["answer"]} for i in range(size)]
        _write(folder / "stories" / f"{name}.jsonl", [json.dumps(row, ensure_ascii=False) for row in texts])
    for name, rows in pairs():
        _write(folder / "pairs" / f"{name}.jsonl", [json.dumps(row, ensure_ascii=False) for row in rows])


def _write(path: Path, lines: list[str]) -> None:
    """Write lines as UTF-8 with newlines as on every machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the bundled exercises.")
    parser.add_argument("--out", type=Path, default=HERE / "made" / "exercises", help="default: data/made/exercises")
    make(parser.parse_args().out)
