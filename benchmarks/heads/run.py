"""How a new head should begin, fitted or at random: writes results/heads.jsonl, heads.md and docs/new-heads.md's table.

    HOLDFAST_DATA=../shared/data .venv/bin/python benchmarks/heads/run.py    # five seeds: half an hour on two cores
    .venv/bin/python benchmarks/heads/run.py --table                         # only the table, from what is kept

`first`: MiniLM learns the sentiment of NusaX English, 500 rows, its first head. `second`: what came of that (top two
layers, four epochs, a fitted head) learns the emotions of TweetEval, the first 500 rows, a second head; what it loses
of sentiment is beside it. No replay, no anchor, no controller: what the head's beginning does is not hidden by them.
Every tuning has the same rows, batches of 16, bf16, a rate of 2e-4 and the seed's own order under both beginnings. A
finished unit is a line of heads.jsonl and is not run again. Accuracies are of 400 test rows in percent; `random less
fitted` is paired by seed, with Student's t interval, 95%.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
from concurrent.futures import as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from benchmarks.speed import world
from flows import pools

if TYPE_CHECKING:
    from holdfast.records import Start

RESULTS = world.ROOT / "benchmarks" / "results"
KEPT = RESULTS / "heads.jsonl"
PAGE = world.ROOT / "docs" / "new-heads.md"
MARKS = ("<!-- generated: heads -->", "<!-- end -->")
LORA = {"lora": {"r": 8, "alpha": 16, "dropout": 0.0, "targets": ["query", "value"]}}
MOVES = {"top two layers": {"layers": [-1, -2]}, "LoRA": LORA, "everything": ["full"]}
BEGINNINGS, PARTS, EPOCHS = ("fitted", "random"), ("first", "second"), (1, 4)
RATE = 2e-4  # the default
TESTED = 400
Unit = tuple[str, int, str, int]  # part, seed, what moves, epochs


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--jobs", type=int, default=2, help="units at a time, one thread each")
    parser.add_argument("--table", action="store_true", help="only write the table again")
    options = parser.parse_args()
    done = kept()
    if not options.table:
        had = {tuple(one["unit"]) for one in done}
        every = itertools.product(options.seeds, PARTS, MOVES, EPOCHS)
        units = [(part, seed, moves, epochs) for seed, part, moves, epochs in every]
        done += measure([unit for unit in units if unit not in had], options.jobs)
    write(done)


def kept() -> list[dict[str, Any]]:
    """Return the units that are done."""
    return [json.loads(line) for line in KEPT.read_text(encoding="utf-8").splitlines()] if KEPT.is_file() else []


def measure(units: list[Unit], jobs: int) -> list[dict[str, Any]]:
    """Run units; keep each when it has ended."""
    from tqdm import tqdm

    found = []
    with pools.of(jobs, per_task=True) as pool:  # what a unit leaves behind is not kept
        for future in tqdm(as_completed([pool.submit(one, unit) for unit in units]), total=len(units)):
            found.append(future.result())
            with KEPT.open("a", encoding="utf-8") as file:
                file.write(json.dumps(found[-1]) + "\n")
    return found


def one(unit: Unit) -> dict[str, Any]:
    """Tune with both beginnings of the head; return the accuracies, in percent."""
    import torch

    from benchmarks.speed import ours
    from holdfast import home

    torch.set_num_threads(1)
    part, seed, moves, epochs = unit
    with tempfile.TemporaryDirectory(prefix="holdfast-heads-") as folder:
        place = home.make(Path(folder) / "home")
        start = ours.untuned("classification")
        begun = start if part == "first" else _tuned(start, place, "first", MOVES["top two layers"], seed, 4)
        found: dict[str, Any] = {
            "unit": list(unit),
            "before": _score(begun, place, "sentiment") if begun.heads else None,
        }
        for beginning in BEGINNINGS:
            tuned = _tuned(begun, place, part, MOVES[moves], seed, epochs, new_head=beginning)
            learned = _score(tuned, place, "sentiment" if part == "first" else "emotion")
            left = _score(tuned, place, "sentiment") if part == "second" else None
            found[beginning] = {"learned": learned, "left": left}
    return found


def _tuned(start: Start, place: Any, part: str, moves: Any, seed: int, epochs: float, **more: Any) -> Start:
    from benchmarks.speed import ours
    from holdfast import adapters

    head, labels, read = TASKS["sentiment" if part == "first" else "emotion"]
    raw = {"name": "t", "start": {"model": "x"}, "learn": {"train": "a.csv", "head": head}, "parameters": moves}
    settings = {"epochs": epochs, "seed": seed, "learning_rate": RATE, "max_length": world.LENGTH, **more}
    train = read("train")[:500]
    tuning = ours.put_together(start, place, raw, settings, train, read("valid")[:1], labels)
    adapter = tuning.run().adapter
    heads = adapters.info(place.store.open(adapter))
    return start.model_copy(update={"adapter": adapter, "heads": {**start.heads, **heads}})


def _score(start: Start, place: Any, task: str) -> float:
    from holdfast import inference, models, rows

    head, labels, read = TASKS[task]
    test = read("test")[:TESTED]
    model = models.load(start, place)
    model.use_head(head)
    said = inference.logits(model, rows.texts(test), max_length=world.LENGTH, precision="bf16").argmax(1)
    return 100 * float((said == rows.label_ids(test, labels)).mean())


def _emotions(split: str) -> list[dict[str, str]]:
    folder, name = world.data() / "tweeteval" / "emotion", {"valid": "val"}.get(split, split)
    texts, labels = ((folder / f"{name}_{what}.txt").read_text(encoding="utf-8") for what in ("text", "labels"))
    pairs = zip(texts.splitlines(), labels.split(), strict=True)
    return [{"id": str(i), "text": text, "label": EMOTIONS[int(k)]} for i, (text, k) in enumerate(pairs)]


EMOTIONS = ("anger", "joy", "optimism", "sadness")
TASKS: dict[str, Any] = {
    "sentiment": ("sentiment", world.LABELS, world.nusax),
    "emotion": ("emotion", EMOTIONS, _emotions),
}


def write(done: list[dict[str, Any]]) -> None:
    """Write the table, also into the page."""
    lines = "\n".join(table(done))
    (RESULTS / "heads.md").write_text(lines + "\n", encoding="utf-8")
    print(lines)
    if PAGE.is_file():
        before, rest = PAGE.read_text(encoding="utf-8").split(MARKS[0])
        after = rest.split(MARKS[1])[1]
        PAGE.write_text(f"{before}{MARKS[0]}\n\n{lines}\n\n{MARKS[1]}{after}", encoding="utf-8")


def table(done: list[dict[str, Any]]) -> list[str]:
    """Return the table as Markdown lines."""
    lines = [
        "| head | what moves | epochs | seeds | fitted | random | random less fitted "
        "| forgets, fitted | random | random less fitted |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for part, moves, epochs in itertools.product(PARTS, MOVES, EPOCHS):
        ours = [u for u in done if (u["unit"][0], *u["unit"][2:]) == (part, moves, epochs)]
        if not ours:
            continue
        cells = [part, moves, str(epochs), str(len(ours)), *_pair(ours, "learned")]
        lost = [{**u, **{b: {"lost": u["before"] - u[b]["left"]} for b in BEGINNINGS}} for u in ours if u["before"]]
        lines.append("| " + " | ".join([*cells, *(_pair(lost, "lost") if lost else ["", "", ""])]) + " |")
    return lines


def _pair(units: list[dict[str, Any]], what: str) -> list[str]:
    import numpy as np
    from scipy import stats

    fitted, random = (np.array([unit[beginning][what] for unit in units]) for beginning in BEGINNINGS)
    less = random - fitted
    half = float(stats.t.ppf(0.975, len(less) - 1) * stats.sem(less)) if len(less) > 1 else float("nan")
    return [f"{fitted.mean():.1f}", f"{random.mean():.1f}", f"{less.mean():+.1f} ± {half:.1f}"]


if __name__ == "__main__":
    main()
