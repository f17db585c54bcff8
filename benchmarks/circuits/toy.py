"""Contextual decomposition on toys that have learned a task: do scores follow what single heads are worth?

    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.circuits.toy           # some minutes of one core
    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.circuits.toy --seeds 0 # the bundled decoder alone

First the bundled decoder (`data/base_model`, 4 layers of 4 heads) on made exercises that it does well: its weights are
the same on every machine. Then toys that are trained here.

The tasks, three-way polarity of 13 words: `negation`, one of them an opinion and in half the rows another before it a
negation; `most`, the polarity of which there are most opinions. Networks of one kind are trained from several seeds;
those that reach an accuracy of 0.95 count. Of each, on 60 label-balanced rows that it answers right, by the defaults of
`assess.circuit`: Pearson's and Spearman's correlation of every head's score with the drop of the margin when that head
alone is at its mean; the largest such drop as a share of the margin; and on 60 other rows the faithfulness of the
circuit that discovery finds, beside ten random ones of its size. Numbers differ with the number of threads, which is
recorded: training goes apart by rounding. Writes `benchmarks/results/circuits-toy.json`.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from scipy import stats

from holdfast import bases, models
from holdfast.circuits import ablation, discovery, examples, reading, reference, relevance
from holdfast.circuits.examples import Chunk
from holdfast.circuits.faithfulness import Judge
from holdfast.circuits.settings import Circuit
from holdfast.decomposition import architectures
from holdfast.importance import sampling
from holdfast.records import Start

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "circuits-toy.json"
EXERCISES, BUNDLED = ROOT / "data" / "made" / "exercises", ("subtraction", "strings")
WORDS, LENGTH = 40, 12
POLAR = (range(4, 8), range(8, 12), range(12, 16))  # negative, neutral, positive
NOT, ASK, FILLERS = 2, 3, range(16, WORDS)
BATCH, EACH, ENOUGH = 64, 20, 0.95  # rows of an update, rows of a label, the accuracy of a trained toy
TOP = 0.1  # of the heads in each round of discovery


@dataclass(frozen=True)
class Toy:
    """A kind of network, the task that it learns, and its training."""

    kind: str
    task: str
    layers: int
    heads: int
    steps: int
    rate: float = 2e-3


TOYS = (
    Toy("qwen2", "negation", 4, 8, 250),
    Toy("qwen2", "negation", 2, 4, 250),
    Toy("qwen2", "most", 2, 4, 120),
    Toy("bert", "most", 2, 4, 120),
)


@dataclass(frozen=True)
class Found:
    """What one toy gives; `worth` is the largest drop by a single head over the whole margin."""

    seed: int
    accuracy: float
    pearson: float
    spearman: float
    worth: float
    size: int
    faithfulness: float
    random: float
    beaten: float


def draw(task: str, rows: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids [rows, LENGTH + 1] and labels [rows], the labels in turn."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(FILLERS.start, FILLERS.stop, (rows, LENGTH + 1), generator=generator)
    labels = torch.arange(rows) % 3
    say = {"negation": _negation, "most": _most}[task]
    for row, label in zip(ids, labels.tolist(), strict=True):
        say(row, label, lambda n: int(torch.randint(n, (1,), generator=generator)))
    ids[:, LENGTH] = ASK
    return ids, labels


def _negation(row: torch.Tensor, label: int, below: Callable[[int], int]) -> None:
    """Put one opinion into a row, and in every other one a negation somewhere before it."""
    opinion, negated = 1 + below(LENGTH - 1), bool(below(2))
    row[opinion] = POLAR[2 - label if negated else label][below(4)]
    if negated:
        row[below(opinion)] = NOT


def _most(row: torch.Tensor, label: int, below: Callable[[int], int]) -> None:
    """Put two to four opinions of one polarity into a row, and fewer of each other one."""
    most, places = 2 + below(3), list(range(LENGTH))
    for polarity, words in enumerate(POLAR):
        for _ in range(most if polarity == label else below(most)):
            row[places.pop(below(len(places)))] = words[below(4)]


def make(toy: Toy) -> Any:
    """Return a random classifier."""
    from transformers import BertConfig, BertForSequenceClassification, Qwen2Config, Qwen2ForSequenceClassification

    sizes: dict[str, Any] = {"vocab_size": WORDS, "num_labels": 3, "pad_token_id": 0, "hidden_size": 64}
    sizes |= {"num_attention_heads": toy.heads, "num_hidden_layers": toy.layers, "intermediate_size": 128}
    if toy.kind == "bert":
        still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        return BertForSequenceClassification(BertConfig(**sizes, **still))
    return Qwen2ForSequenceClassification(Qwen2Config(**sizes, num_key_value_heads=2))


def train(toy: Toy, seed: int) -> Any:
    """Return a classifier trained on the task, in eval mode."""
    torch.manual_seed(seed)
    network = make(toy)
    optimiser = torch.optim.AdamW(network.parameters(), lr=toy.rate, weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, toy.rate, total_steps=toy.steps)
    ids, labels = draw(toy.task, BATCH * toy.steps, seed + 1)
    network.train()
    for step in range(toy.steps):
        batch = slice(BATCH * step, BATCH * (step + 1))
        loss = torch.nn.functional.cross_entropy(network(input_ids=ids[batch]).logits, labels[batch])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        rate.step()
    return network.eval().requires_grad_(False)


@torch.no_grad()
def measure(network: Any, task: str, seed: int) -> Found:
    """Return what `Found` says of a network."""
    accuracy, seen = _rows(network, task, 99)
    return _found(architectures.describe(network), seen, _rows(network, task, 98)[1], Circuit(top=TOP), accuracy, seed)


@torch.no_grad()
def measure_bundled(task: str, seed: int = 0) -> Found:
    """Return what `Found` says of the bundled decoder on a task of `data/made/exercises`, by the defaults."""
    model = models.load_base(Start(model="kelp", base=bases.resolve("kelp"), task="generation"))
    files = (EXERCISES / task / f"{part}.jsonl" for part in ("train", "valid", "test"))
    rows = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    settings = Circuit()
    read = reading.of(model, rows, max_length=160)
    tried = sampling.balanced(read.rows, read.labels, 3 * (settings.examples + settings.held_out), seed, task)
    right = [row for row, answered in zip(tried, read.right(tried), strict=True) if answered]
    parts = architectures.describe(model.network, read.columns)
    seen, unseen = (
        examples.chunks(model.network, parts, read.encode(some), read.targets(some), read.columns)
        for some in (right[::2], right[1::2])
    )
    return _found(parts, seen, unseen, settings, len(right) / len(tried), seed)


def _found(parts: Any, seen: list[Chunk], unseen: list[Chunk], settings: Circuit, accuracy: float, seed: int) -> Found:
    means = reference.measure(parts, seen, settings.reference)
    scores = relevance.measure(parts, seen, means, settings.rules, settings.margin)
    drops, whole = worth(parts, seen, means)
    flat, drop = scores.answer.flatten().tolist(), drops.flatten().tolist()
    found = discovery.discover(scores, Judge(parts, seen, means, settings.margin).faithfulness, settings)
    point = Judge(parts, unseen, means, settings.margin).point(found.heads, settings.random, seed)
    return Found(
        seed=seed,
        accuracy=accuracy,
        pearson=float(stats.pearsonr(flat, drop).statistic),
        spearman=float(stats.spearmanr(flat, drop).statistic),
        worth=max(drop) / whole,
        size=point.size,
        faithfulness=point.faithfulness,
        random=statistics.mean(point.random),
        beaten=point.beaten,
    )


def _rows(network: Any, task: str, seed: int) -> tuple[float, list[Chunk]]:
    """Return the accuracy on rows drawn with a seed, and those used: as many of every label, answered right."""
    ids, labels = draw(task, 300, seed)
    right = network(input_ids=ids).logits.argmax(-1) == labels
    rows = [i for label in range(3) for i in (right & (labels == label)).nonzero().flatten().tolist()[:EACH]]
    encoded = [{"input_ids": ids[i].tolist(), "attention_mask": [1] * ids.shape[1]} for i in rows]
    chunks = examples.chunks(network, architectures.describe(network), encoded, labels[rows].tolist())
    return float(right.float().mean()), chunks


def worth(parts: Any, chunks: list[Chunk], means: reference.Reference) -> tuple[torch.Tensor, float]:
    """Return how far the margin falls when each head alone is at its mean, [layers, heads], and the margin."""
    ablated = ablation.Ablation(parts, chunks, means)
    every = torch.ones(len(parts.layers), parts.layers[0].heads, dtype=torch.bool)
    whole, drops = ablated.margin(every), torch.zeros(every.shape)
    for layer, head in every.nonzero().tolist():
        kept = every.clone()
        kept[layer, head] = False
        drops[layer, head] = whole - ablated.margin(kept)
    return drops, whole


def row(name: str, every: list[Found]) -> str:
    """Return a line of the table in `docs/circuits.md`; toys that did not learn the task are in brackets."""
    trained = [one for one in every if one.accuracy >= ENOUGH]
    each = ", ".join(f"{one.pearson:.2f}" if one in trained else f"({one.pearson:.2f})" for one in every)
    cells = [name, f"{len(trained)} of {len(every)}", each]
    for key in ("pearson", "spearman", "faithfulness"):
        values = [getattr(one, key) for one in trained] or [float("nan")]
        cells.append(f"{statistics.mean(values):.2f} (least {min(values):.2f})")
    worth, chance = ([getattr(one, key) for one in trained] or [float("nan")] for key in ("worth", "random"))
    cells += [f"{statistics.mean(chance):.2f}", f"{min(worth):.1%} to {max(worth):.1%}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Scores and circuits of toys, seed by seed.")
    parser.add_argument("--seeds", type=int, default=6)
    given = parser.parse_args()
    results: dict[str, Any] = {"threads": torch.get_num_threads(), "torch": torch.__version__}
    print(f"threads: {torch.get_num_threads()}", flush=True)
    for task in BUNDLED:
        results[f"bundled decoder, `{task}`"] = [asdict(found := measure_bundled(task))]
        print(row(f"bundled decoder, `{task}`", [found]), flush=True)
    for toy in TOYS if given.seeds else ():
        found = []
        for seed in range(given.seeds):
            found.append(measure(train(toy, seed), toy.task, seed))
            print(found[-1], flush=True)
        name = f"{toy.kind}, `{toy.task}`, {toy.layers} x {toy.heads}, {toy.steps} updates"
        results[name] = [asdict(one) for one in found]
        print(row(name, found), flush=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
