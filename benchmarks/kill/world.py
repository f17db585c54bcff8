"""A small world to be killed in: a random encoder, two tasks that collide, and a pipeline file for each method."""

import csv
from pathlib import Path
from typing import Any

import yaml

from holdfast import choices

CUES = {"positive": ["good", "fine", "great", "nice"], "negative": ["bad", "awful", "poor", "nasty"]}
THINGS, FILLERS, MARKS = ["movie", "food", "service"], ["very", "and", "the", "a"], ["indeed", "truly"]
ROWS = {"train": range(0, 24), "valid": range(24, 36), "test": range(36, 60)}
_BASE = {"parameters": {"layers": [0, 1]}}
_WITH_TEXTS = {**{part: f"new-{part}.csv" for part in ROWS}, "unlabelled": "texts.csv"}
# What a choice needs besides its defaults; a choice that is not named here runs with those.
OPTIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("parameters", "layers"): {"parameters": {"layers": [0]}},
    ("parameters", "heads"): {"parameters": {"heads": ["0.1", "1.2"]}},
    ("parameters", "mask"): {"parameters": {"mask": 0.2}},
    ("parameters", "lora"): {"parameters": {"lora": 2}},
    ("parameters", "auto"): {"parameters": {"auto": {"most": 2, "budget": 1.0}}},
    ("parameters", "circuit"): {"parameters": {"circuit": 3}},
    ("parameters", "spt"): {"parameters": {"spt": {"share": 0.3, "r": 1}}},
    ("parameters", "diff-pruning"): {"parameters": {"diff-pruning": {"share": 0.1, "epochs": 0.5}}},
    ("examples", "replay"): {"examples": {"replay": 0.5}},
    ("examples", "domain-text"): {"examples": "domain-text", "learn": _WITH_TEXTS},
    ("examples", "pseudo-labels"): {
        "examples": {"pseudo-labels": {"threshold": 0.51, "refresh": 4}},
        "learn": _WITH_TEXTS,
    },
    ("objectives", "hybrid-kd"): {"objective": {"hybrid-kd": {"teacher": "models:/first@champion"}}},
}
# Choices that are several methods: what is drawn, decomposed or kept otherwise.
VARIANTS: dict[str, dict[str, Any]] = {
    **{
        f"parameters/lora-{kind}": {"parameters": {"lora": {"kind": kind, "r": 2}}}
        for kind in ("dora", "pissa", "corda")
    },
    "parameters/lora-osf": {"parameters": {"lora": {"kind": "osf"}}},
    "parameters/mask-random": {"parameters": {"mask": {"share": 0.2, "by": "random"}}},
}
WITHOUT = {"schedules/wise": ("controller's look", "look not yet noted")}  # not passed: it has no controller
_KEYS = {"objectives": "objective", "schedules": "schedule"}


def make(folder: Path) -> Path:
    """Write the encoder, the data and `first.yaml` into `folder`; return that file."""
    _encoder(folder / "encoder")
    for part, numbers in ROWS.items():
        _write(folder / f"{part}.csv", numbers, turned=False)
        _write(folder / f"new-{part}.csv", numbers, turned=True)
    _write(folder / "texts.csv", range(60, 84), turned=True)
    raw = {"name": "first", "start": {"model": "encoder"}, "learn": {part: f"{part}.csv" for part in ROWS}}
    return _file(folder, raw | {"parameters": "full", "training": _training(epochs=12), "gate": _gate()})


def methods() -> list[str]:
    """Return every choice of every axis as `axis/choice`, those added later too, and the variants."""
    axes = sorted(choices.AXES, key="parameters anchors examples schedules objectives".find)
    return [*(f"{axis}/{name}" for axis in axes for name in choices.names(axis)), *VARIANTS]


def pipeline(folder: Path, method: str) -> Path:
    """Write the pipeline file of a method, which starts from `first` and remembers it; return it."""
    axis, _, name = method.partition("/")
    chosen = VARIANTS.get(method) or OPTIONS.get((axis, name), {_KEYS.get(axis, axis): [name]})
    remember = [{"name": "old", **{part: f"{part}.csv" for part in ROWS}, "margin": 0.99}]
    raw = {
        "name": method.replace("/", "-"),
        "start": {"model": "models:/first@champion", "made_by": "first.yaml"},
        "learn": {part: f"new-{part}.csv" for part in ROWS},
        "remember": remember,
        "assess": {"examples": 8},
        "control": {"budget": 1.0, "attempts": 1, "interpolations": [0.5]},  # so that looks along the way can be paid
        "training": _training(epochs=2.5),
        "gate": _gate(),
    }
    return _file(folder, raw | _BASE | chosen)


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
