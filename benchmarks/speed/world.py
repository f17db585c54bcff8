"""What every measurement stands on: the real data, the networks, the clock, and memory of a child process."""

from __future__ import annotations

import csv
import json
import os
import resource
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RUN = Path(__file__).with_name("run.py")
LABELS = ("negative", "neutral", "positive")
THREADS, BATCH, LENGTH = 2, 16, 128
Side = Callable[[int], dict[str, Any]]  # a repetition, from 0, to the figures that it gives; `seconds` are what counts


def data() -> Path:
    """Return the folder of real data."""
    place = os.environ.get("HOLDFAST_DATA")
    if not place:
        raise SystemExit("set HOLDFAST_DATA to the folder that holds nusax_senti, gsm8k, blimp and piqa")
    return Path(place)


def nusax(split: str, language: str = "english") -> list[dict[str, str]]:
    """Return rows with id, text and label."""
    with (data() / "nusax_senti" / language / f"{split}.csv").open(encoding="utf-8", newline="") as file:
        return [{name: row[name] for name in ("id", "text", "label")} for row in csv.DictReader(file)]


def gsm8k(count: int) -> list[dict[str, str]]:
    """Return word problems with their answers, of mixed lengths."""
    lines = (data() / "gsm8k" / "train.jsonl").read_text(encoding="utf-8").splitlines()[:count]
    rows = [json.loads(line) for line in lines]
    return [{"id": str(i), "prompt": row["question"], "answer": row["answer"]} for i, row in enumerate(rows)]


def blimp(each: int) -> list[tuple[str, str]]:
    """Return minimal pairs, the first `each` of all 67 phenomena."""
    with zipfile.ZipFile(data() / "blimp" / "BLiMP.zip") as archive:
        names = sorted(n for n in archive.namelist() if n.startswith("data/") and n.endswith(".jsonl"))
        found = [json.loads(line) for n in names for line in archive.read(n).decode().splitlines()[:each]]
    return [(row["sentence_good"], row["sentence_bad"]) for row in found]


def piqa(count: int) -> list[tuple[str, list[str]]]:
    """Return goals with their two solutions: short prompts, long options."""
    lines = (data() / "piqa" / "valid.jsonl").read_text(encoding="utf-8").splitlines()[:count]
    rows = [json.loads(line) for line in lines]
    return [(row["goal"], [f" {row['sol1']}", f" {row['sol2']}"]) for row in rows]


def bbh(count: int) -> list[tuple[str, list[str]]]:
    """Return questions of BIG-Bench Hard with their options' letters: long prompts, short options, up to seven."""
    rows = json.loads((data() / "bbh" / "logical_deduction_seven_objects.json").read_text(encoding="utf-8"))["examples"]
    return [(row["input"], [f" ({letter})" for letter in "ABCDEFG"]) for row in rows[:count]]


@cache
def encoder_folder() -> Path:
    """Return the folder of all-MiniLM-L6-v2."""
    from holdfast import bases

    return bases.locate(bases.resolve("all-MiniLM-L6-v2"))


def decoder_folder(place: Path) -> Path:
    """Make the folder of a random Llama of MiniLM's size (6 layers, width 384) with MiniLM's vocabulary of 30 522."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from holdfast import bases

    words = bases.tokenizer(encoder_folder())
    words.bos_token, words.eos_token = "[CLS]", "[SEP]"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=384,
        intermediate_size=1024,
        num_hidden_layers=6,
        num_attention_heads=12,
        max_position_embeddings=1024,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        tie_word_embeddings=False,
    )
    LlamaForCausalLM(config).save_pretrained(place)
    words.save_pretrained(place)
    return place


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Return what `work` returns, and its wall and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    found = work()
    return found, {"seconds": time.perf_counter() - wall, "processor": time.process_time() - processor}


def peak() -> float:
    """Return the most memory that this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(section: str, side: str) -> dict[str, Any]:
    """Run one side of a section once in a process of its own; return its figures, with its peak memory in MiB."""
    command = [sys.executable, str(RUN), "--child", section, side]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{section}/{side}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
