"""How a prompt and an answer are put into words: the tokenizer's chat template, or the prompt, a newline, the answer.

The prompt's text ends exactly where generation begins, so a model is trained on, scored on and asked the same tokens.
"""

from __future__ import annotations

from typing import Any

from holdfast.errors import BadInput

_MARK = "holdfast-answer"


def render(tokenizer: Any, prompt: str) -> str:
    """Return the text up to the answer: one user turn of the chat template, or else the prompt and a newline."""
    if not tokenizer.chat_template:
        return f"{prompt}\n"
    text: str = tokenizer.apply_chat_template(_turns(prompt), tokenize=False, add_generation_prompt=True)
    return text


def opening(tokenizer: Any) -> list[int]:
    """Return the token that begins every text without a chat template: [BOS] where the tokenizer puts one, else []."""
    bos = tokenizer.bos_token_id
    return [bos] if bos is not None and tokenizer("a")["input_ids"][:1] == [bos] else []


def end_of_turn(tokenizer: Any) -> int:
    """Return the token that ends an answer: the special one that the chat template puts behind it, else EOS.

    Raises `BadInput` when the tokenizer has neither.
    """
    if tokenizer.chat_template:
        turns = [*_turns("a"), {"role": "assistant", "content": _MARK}]
        behind = tokenizer.apply_chat_template(turns, tokenize=False).rpartition(_MARK)[2]
        special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
        for token in tokenizer(behind, add_special_tokens=False)["input_ids"]:
            if token in special:
                return int(token)
    if tokenizer.eos_token_id is None:
        raise BadInput("the tokenizer has no token that ends an answer", key="start.model", expected="an eos_token")
    return int(tokenizer.eos_token_id)


def _turns(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}]
