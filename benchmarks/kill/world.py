"""Small worlds to be killed in: a random encoder and two tasks that collide, a random decoder and two kinds of prompts.

`pipeline` writes the pipeline file of a row of the table (`benchmarks.kill.rows`).
"""

import csv
import re
from pathlib import Path
from typing import Any

import yaml

from benchmarks.kill import decoder, rows

CUES = {"positive": ["good", "fine", "great", "nice"], "negative": ["bad", "awful", "poor", "nasty"]}
THINGS, FILLERS, MARKS = ["movie", "food", "service"], ["very", "and", "the", "a"], ["indeed", "truly"]
ROWS = {"train": range(0, 24), "valid": range(24, 36), "test": range(36, 60)}
_BASE = {"parameters": {"layers": [0, 1]}}


def make(folder: Path, words: bool = False) -> Path:
    """Write the encoder, the data and `first.yaml` into `folder`, or with `words` the decoder's; return that file."""
    _texts(folder / "texts.csv")
    if words:
        return _file(folder, _taught(decoder.make(folder), epochs=12))
    _encoder(folder / "encoder")
    for part, numbers in ROWS.items():
        _write(folder / f"{part}.csv", numbers, turned=False)
        _write(folder / f"new-{part}.csv", numbers, turned=True)
    raw = {"name": "first", "start": {"model": "encoder"}, "learn": {part: f"{part}.csv" for part in ROWS}}
    return _file(folder, _taught(raw, epochs=12))


def pipeline(folder: Path, row: str) -> Path:
    """Write the pipeline file of a row's method, which starts from the first version and remembers it; return it."""
    raw = {
        "name": re.sub("[^a-z0-9]+", "-", row),
        **(decoder.sections() if rows.generates(row) else _sections()),
        "assess": {"examples": 8},
        "control": {"budget": 1.0, "attempts": 1, "interpolations": [0.5]},  # so that looks along the way can be paid
    }
    chosen = rows.chosen(row)
    changed = {key: {**raw[key], **own} if key == "learn" else own for key, own in chosen.items() if key != "training"}
    base = {} if rows.moves(row) else _BASE
    return _file(folder, _taught({**raw, **base, **changed}, **{"epochs": 2.5, **chosen.get("training", {})}))


def learned(file: Path) -> dict[str, Any]:
    """Return what a pipeline file's method learns from."""
    found: dict[str, Any] = yaml.safe_load(file.read_text())["learn"]
    return found


def _sections() -> dict[str, Any]:
    """Return the sections of a file that starts from `first` and remembers it."""
    return {
        "start": {"model": "models:/first@champion", "made_by": "first.yaml"},
        "learn": {part: f"new-{part}.csv" for part in ROWS},
        "remember": [{"name": "old", **{part: f"{part}.csv" for part in ROWS}, "margin": 0.99}],
    }


def _taught(raw: dict[str, Any], epochs: float, **training: Any) -> dict[str, Any]:
    """Return a file's sections with those of training and gate."""
    return {**raw, "training": {**_training(epochs), **training}, "gate": _gate()}


def _training(epochs: float) -> dict[str, Any]:
    """Return settings under which an epoch has six updates and two checkpoints, and early stopping keeps its memory."""
    return {
        "epochs": epochs, "batch": 8, "learning_rate": 3e-3, "max_length": 16, "precision": "fp32", "patience": 3,
        "checkpoints_per_epoch": 2,
    }  # fmt: skip


def _gate() -> dict[str, float]:
    """Return a gate that lets anything through: what is tried here is not whether a model is good."""
    return {"target_gain": -0.99, "champion_margin": 0.99}


def _file(folder: Path, raw: dict[str, Any]) -> Path:
    path = folder / f"{raw['name']}.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return path


def _texts(path: Path) -> None:
    """Write texts without labels."""
    _write(path, range(60, 84), turned=True)


def _write(path: Path, numbers: range, turned: bool) -> None:
    """Write two rows per number, all distinct; `turned` ones have other words and the labels the other way round."""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["text", "label"])
        writer.writeheader()
        for number in numbers:
            mixed = number * 37 % 96
            thing, filler, cue = THINGS[mixed % 3], FILLERS[mixed // 3 % 4], mixed // 12 % 4
            for label, words in CUES.items():
                text = f"{words[cue]} {thing} was {filler} {words[mixed // 48]}"
                other = next(kind for kind in CUES if kind != label)
                row = (
                    {"text": f"{MARKS[0]} {text} {MARKS[1]}", "label": other}
                    if turned
                    else {"text": text, "label": label}
                )
                writer.writerow(row)


def _encoder(folder: Path) -> None:
    """Write a random two-layer BERT with a word-level tokenizer."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = [*CUES["positive"], *CUES["negative"], *THINGS, *FILLERS, *MARKS, "was"]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    BertTokenizerFast(vocab={piece: i for i, piece in enumerate(pieces)}, model_max_length=32).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(pieces), max_position_embeddings=32, **sizes)).save_pretrained(folder)
