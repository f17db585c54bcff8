"""Contextual decomposition on a real model: scores against what heads are worth, and how faithful its circuit is.

    HOLDFAST_DATA=../shared/data OMP_NUM_THREADS=1 .venv/bin/python benchmarks/circuits/real.py   # 3 minutes, one core

MiniLM with a probe for NusaX-Senti English (seed 7, default settings of `assess.circuit`). Every head's score is set
against the drop of the margin when that head alone is replaced by its mean (held-out rows). The circuit that discovery
finds, and that of CD-T's Algorithm 1 (`aim: heads`), are judged beside ten random ones of every size; heads ranked by
score are set against heads ranked by score over its layer's mean size. Writes `benchmarks/results/circuits-real.json`
and the picture `docs/circuit.png`.
"""

import csv
import json
import os
from pathlib import Path
from typing import Any

import torch
from scipy import stats

from holdfast import bases
from holdfast.circuits import discovery, examples, find, picture, reading, reference
from holdfast.circuits.faithfulness import Judge
from holdfast.circuits.settings import Circuit
from holdfast.decomposition import architectures
from holdfast.importance import probe
from holdfast.models import Model

ROOT = Path(__file__).resolve().parents[2]
LENGTH, SEED, SIZES = 128, 7, (4, 8, 16, 24)


def load() -> tuple[Model, find.Task]:
    folder = bases.locate(bases.resolve("all-MiniLM-L6-v2"))
    model = Model(bases.network(folder), bases.tokenizer(folder))
    path = Path(os.environ["HOLDFAST_DATA"]) / "nusax_senti" / "english" / "train.csv"
    with path.open(encoding="utf-8", newline="") as lines:
        rows = [
            {"id": str(i), "text": row["text"], "label": row["label"]} for i, row in enumerate(csv.DictReader(lines))
        ]
    labels = tuple(sorted({row["label"] for row in rows}))
    model.add_head("sentiment", labels, SEED)
    probe.fit(model, rows, labels, LENGTH, SEED)
    return model, find.Task("NusaX English", "nusax/english/train", rows)


def judge(model: Model, task: find.Task, settings: Circuit) -> Judge:
    """The judge on the held-out rows, with the means of the others, as `find.find` has it."""
    parts = architectures.describe(model.network)
    read = reading.of(model, task.rows, LENGTH)
    seen, unseen = (
        examples.chunks(model.network, parts, read.encode(rows), read.targets(rows))
        for rows in find._rows(read, task, settings, SEED)
    )
    return Judge(parts, unseen, reference.measure(parts, seen, settings.reference), settings.margin)


def main() -> None:
    model, task = load()
    found, paper = (
        find.find(model, task, Circuit(aim=aim), LENGTH, SEED, lambda share: print(f"{share:.0%}", flush=True))
        for aim in ("answer", "heads")
    )
    with torch.no_grad():
        judged = judge(model, task, Circuit())
        every = [(layer, head) for layer in range(judged.layers) for head in range(judged.heads)]
        worth = [judged.whole - judged.margin([other for other in every if other != head]) for head in every]
        scores = torch.tensor([found["scores"][f"{i}.{j}"] for i, j in every]).view(judged.layers, judged.heads)
        flat = scores.flatten().tolist()
        result: dict[str, Any] = {
            "score against single-head ablation": {
                "Pearson": float(stats.pearsonr(flat, worth).statistic),
                "Spearman": float(stats.spearmanr(flat, worth).statistic),
            },
            "circuit": summary(found),
            "circuit of Algorithm 1": summary(paper),
        }
        for name, normalise in (("ranked by score", False), ("ranked by score over its layer's", True)):
            ranked = discovery.highest(scores, [], max(SIZES), normalise)
            result[name] = {size: judged.faithfulness(ranked[:size]) for size in SIZES}
    (ROOT / "docs" / "circuit.png").write_bytes(picture.draw(found))
    print(json.dumps(result, indent=1))
    path = ROOT / "benchmarks" / "results" / "circuits-real.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def summary(found: dict[str, Any]) -> dict[str, Any]:
    curve = {point["size"]: point["faithfulness"] for point in found["curve"]}
    chance = {point["size"]: sum(point["random"]) / len(point["random"]) for point in found["curve"]}
    kept = {key: found[key] for key in ("heads", "faithfulness", "beaten", "rounds")}
    return {**kept, "curve": curve, "random": chance}


if __name__ == "__main__":
    main()
