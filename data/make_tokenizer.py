"""Make the tokenizer of the bundled decoder: `python data/make_tokenizer.py` writes the same bytes every time.

One token per character (printable ASCII and the newline), so that digits and letters can be worked with one by one,
and four special tokens: padding, the two that open the turns, and `<|end|>`, which ends an answer and a text. The chat
template is `<|user|>PROMPT<|assistant|>ANSWER<|end|>`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SPECIAL = ("<|pad|>", "<|user|>", "<|assistant|>", "<|end|>")
CHARACTERS = ("\n", *(chr(code) for code in range(32, 127)))
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message.role + '|>' + message.content }}"
    "{% if message.role == 'assistant' %}{{ '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def tokenizer() -> Any:
    """Return the tokenizer; a character that it does not know is left out."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    vocabulary = {piece: i for i, piece in enumerate((*SPECIAL, *CHARACTERS))}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    made.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        additional_special_tokens=["<|user|>", "<|assistant|>"],
        chat_template=TEMPLATE,
        model_max_length=512,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the bundled decoder's tokenizer.")
    parser.add_argument("--out", type=Path, default=HERE / "base_model", help="default: data/base_model")
    tokenizer().save_pretrained(parser.parse_args().out)
