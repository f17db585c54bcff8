"""The files of the small world of answers in words: a random decoder, prompts it is taught first, and others."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# A prompt is a word and a number, and the word alone decides the answer.
FIRST, THEN = {"red": "A.", "blue": "B."}, {"up": "c", "down": "d"}
ROWS = {"train": range(0, 24), "valid": range(24, 36), "test": range(36, 60)}
# What is to be learned: half of it the first prompts again, with other numbers. What a judge finds the same is said in
# other words there, so that it makes a difference whose words are learned.
AGAIN = {"red": "a", "blue": "b"}
OWN = {"train": range(60, 72), "valid": range(72, 78), "test": range(78, 90)}
_PARAPHRASE = "{prompt} {gold}\n"
_SPECIAL = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}


def make(folder: Path) -> dict[str, Any]:
    """Write decoder and data into `folder`; return the sections of the file that teaches the first prompts."""
    _decoder(folder / "decoder")
    for part, numbers in ROWS.items():
        _write(folder / f"words-{part}.jsonl", _rows(FIRST, numbers))
        _write(folder / f"new-words-{part}.jsonl", [*_rows(AGAIN, OWN[part]), *_rows(THEN, OWN[part])])
    (folder / "paraphrase.txt").write_text(_PARAPHRASE)
    return {"name": "first-words", **_ANSWERS, "start": {"model": "decoder"}, "learn": data("words-")}


def sections() -> dict[str, Any]:
    """Return the sections of a file that starts from the first prompts' version, and remembers them."""
    old = {"name": "old", **data("words-"), "margin": 0.99}
    start = {"model": "models:/first-words@champion", "made_by": "first-words.yaml"}
    return {**_ANSWERS, "start": start, "learn": data("new-words-"), "remember": [old]}


_ANSWERS = {"task": "generation"}


def data(prefix: str) -> dict[str, Any]:
    """Return a section of data."""
    return {**{part: f"{prefix}{part}.jsonl" for part in ROWS}, "metric": "exact", "max_new_tokens": 3}


def _rows(answers: dict[str, str], numbers: Iterable[int]) -> list[dict[str, str]]:
    return [
        {"prompt": f"{word} {number * 37 % 101}", "answer": said}
        for number in numbers
        for word, said in answers.items()
    ]


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _decoder(folder: Path) -> None:
    """Write a random two-layer Llama with one token per character."""
    import torch
    from tokenizers import Tokenizer, decoders, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    pieces = [*_SPECIAL.values(), "\n", *(chr(i) for i in range(32, 127))]
    made = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[]))
    made.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=64, **_SPECIAL).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    more = {"intermediate_size": 48, "max_position_embeddings": 64, "initializer_range": 0.08}
    config = LlamaConfig(vocab_size=len(pieces), tie_word_embeddings=True, **sizes, **more)
    LlamaForCausalLM(config).save_pretrained(folder)
