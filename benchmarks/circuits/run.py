"""Contextual decomposition of every attention head: the plain way against Holdfast's, and where the time goes.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/circuits/run.py        # about four minutes of one core

Plain: `holdfast.decomposition.plain`, the same rules on the pair, one source per pass, from layer 0, on the whole batch
of padded rows. A plain pass costs the same for every source, so some are timed and their median is multiplied by the
number of heads. Holdfast: `holdfast.circuits.relevance.measure`, all heads in one call, R(s, t) between heads included.
The two alternate; medians of wall time, and of processor time (which a busy machine disturbs less). Networks: a random
BERT of 12 layers with 12 heads and width 192, and all-MiniLM-L6-v2 (6 x 12, width 384); rows of random tokens whose
lengths are spread as those of short texts are (mean 26, 6 to 60). Results go to `benchmarks/results/circuits.json`.
"""

import argparse
import functools
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, BertConfig

from holdfast import bases, inference
from holdfast.circuits import examples, reference, relevance
from holdfast.circuits.reference import Reference
from holdfast.decomposition import architectures, plain
from holdfast.decomposition.parts import Network
from holdfast.decomposition.settings import Rules

RESULTS = Path(__file__).resolve().parents[1] / "results" / "circuits.json"
PLAIN_PASSES = 2  # timed in each pair
KINDS = {
    "matrix products": ("aten::mm", "aten::addmm"),
    "attention": ("aten::bmm", "aten::_softmax"),
    "activation": ("aten::gelu", "aten::silu"),
}


def random_network() -> Any:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=2000,
        hidden_size=192,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=768,
        num_labels=3,
    )
    return AutoModelForSequenceClassification.from_config(config).eval()


def minilm() -> Any:
    return bases.network(bases.locate(bases.resolve("all-MiniLM-L6-v2")))


def rows(count: int) -> list[dict[str, list[int]]]:
    generator = torch.Generator().manual_seed(0)
    lengths = (torch.randn(count, generator=generator) * 10 + 26).clamp(6, 60).int().tolist()
    drawn = [torch.randint(5, 2000, (n,), generator=generator).tolist() for n in lengths]
    return [{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in drawn]


def padded(encoded: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    width = max(len(row["input_ids"]) for row in encoded)
    return {
        key: torch.tensor([row[key] + [0] * (width - len(row[key])) for row in encoded])
        for key in ("input_ids", "attention_mask")
    }


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - wall, time.process_time() - processor


def plain_score(
    parts: Network, held: plain.Padded, means: Reference, targets: list[int], place: tuple[int, int]
) -> float:
    """R(s) of one head by one plain pass."""
    layer, head = place
    own = slice(head * parts.layers[layer].head_dim, (head + 1) * parts.layers[layer].head_dim)
    found = plain.propagate(parts, held, plain.Source(layer, head, means.means[layer][-1, own]), Rules())
    labels = torch.tensor(targets)
    each = examples.margins(found.logits[0].unsqueeze(1), held.logits, labels, "mean").squeeze(1)
    counts = labels.bincount()
    return float((each / (len(counts) * counts[labels])).sum())


def measure(network: Any, count: int, pairs: int) -> dict[str, Any]:
    encoded, targets = rows(count), [i % network.config.num_labels for i in range(count)]
    network.requires_grad_(False)
    parts = architectures.describe(network)
    chunks = examples.chunks(network, parts, encoded, targets)
    means = reference.measure(parts, chunks, "mean")
    held = plain.observe_padded(network, parts, padded(encoded))
    heads = [(i, j) for i in range(len(parts.layers)) for j in range(parts.layers[0].heads)]
    slow: list[tuple[float, float]] = []
    fast: list[tuple[float, float]] = []
    off = 0.0
    found = relevance.measure(parts, chunks, means, Rules(), "mean")  # warm
    for pair in range(pairs):
        for head in heads[pair * 7 :: len(heads) // PLAIN_PASSES + 1][:PLAIN_PASSES]:
            score, *cost = timed(functools.partial(plain_score, parts, held, means, targets, head))
            slow.append((cost[0], cost[1]))
            off = max(off, abs(score - float(found.answer[head])))
        found, *cost = timed(lambda: relevance.measure(parts, chunks, means, Rules(), "mean"))
        fast.append((cost[0], cost[1]))
    result: dict[str, Any] = {"rows": count, "heads": len(heads), "largest difference of a score": off}
    result["largest score"] = float(found.answer.abs().max())
    for place, kind in enumerate(("wall", "processor")):
        a = statistics.median(cost[place] for cost in slow) * len(heads)
        b = statistics.median(cost[place] for cost in fast)
        result[kind] = {"plain": a, "holdfast": b, "times faster": a / b}
    if inference.has_bf16():
        lower = architectures.describe(network, bf16=True)
        relevance.measure(lower, chunks, means, Rules(), "mean")
        other, wall, processor = timed(lambda: relevance.measure(lower, chunks, means, Rules(), "mean"))
        both = torch.stack([found.answer.flatten(), other.answer.flatten()])
        result["bf16"] = {"wall": wall, "processor": processor, "correlation with fp32": float(both.corrcoef()[0, 1])}
        result["bf16"]["times faster"] = result["processor"]["plain"] / processor
    result["levers"] = levers(parts, encoded)
    result["where the time goes"] = profile(lambda: relevance.measure(parts, chunks, means, Rules(), "mean"))
    return result


def levers(parts: Network, encoded: list[dict[str, list[int]]]) -> dict[str, float]:
    """Multiplications in linear maps, plain over Holdfast, lever by lever; their product is the whole."""
    lengths, layer, count = [len(row["input_ids"]) for row in encoded], parts.layers[0], len(parts.layers)
    maps = (layer.qkv, layer.output, layer.mlp.up, layer.mlp.down)
    qkv, output, up, down = (linear.weight.numel() for linear in maps)
    everything, after = qkv + output + up + down, output + up + down
    keys_and_values = qkv * sum(layer.widths[1:]) / sum(layer.widths)
    upwards = sum(after + (count - 1 - at) * everything for at in range(count)) / count
    read = len(lengths) / sum(lengths)
    last = keys_and_values + read * (everything - keys_and_values)
    below = sum(after + (count - 2 - at) * everything + last for at in range(count - 1))
    ended = (below + after * read) / count
    return {
        "from the source's layer": count * everything / upwards,
        "one stream, not two": 2.0,
        "last layer where it is read": upwards / ended,
        "no padding": len(lengths) * max(lengths) / sum(lengths),
    }


def profile(work: Callable[[], Any]) -> dict[str, float]:
    """Shares of the processor time by kind of operation."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    with profiler(activities=[ProfilerActivity.CPU]) as seen:
        work()
    spent = {event.key: event.self_cpu_time_total for event in seen.key_averages()}
    whole = sum(spent.values())
    shares = {kind: sum(spent.get(name, 0.0) for name in names) / whole for kind, names in KINDS.items()}
    return {**shares, "splitting biases, norms, copies": 1 - sum(shares.values())}


def main() -> None:
    parser = argparse.ArgumentParser(description="All heads' scores: plain against fast.")
    parser.add_argument("--rows", type=int, default=12)
    parser.add_argument("--pairs", type=int, default=3)
    given = parser.parse_args()
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
    }
    results: dict[str, Any] = {"machine": {**machine, "threads": torch.get_num_threads()}}
    with torch.no_grad():
        for name, make in (("random BERT, 12 x 12 heads, width 192", random_network), ("MiniLM, 6 x 12 heads", minilm)):
            results[name] = measure(make(), given.rows, given.pairs)
            print(name, json.dumps(results[name], indent=1), flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
