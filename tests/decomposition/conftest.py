"""Tiny random networks of every architecture that can be decomposed, and ragged rows of token ids."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

WORDS = 40
KINDS = ("bert", "roberta", "electra", "distilbert", "gpt2", "llama", "mistral", "qwen2", "qwen3")


def _config(kind: str) -> Any:
    import transformers

    common: dict[str, Any] = {"vocab_size": WORDS, "num_labels": 3, "pad_token_id": 0}
    sizes: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
    sizes["intermediate_size"] = 48
    if kind in ("bert", "roberta", "electra"):
        own = {"embedding_size": 16} if kind == "electra" else {}
        name = {"bert": "BertConfig", "roberta": "RobertaConfig", "electra": "ElectraConfig"}[kind]
        return getattr(transformers, name)(**common, **sizes, **own, max_position_embeddings=64)
    if kind == "distilbert":
        return transformers.DistilBertConfig(**common, dim=32, n_layers=3, n_heads=4, hidden_dim=48)
    if kind == "gpt2":
        return transformers.GPT2Config(**common, n_embd=32, n_layer=3, n_head=4, n_positions=64, n_inner=48)
    own = {"llama": {"attention_bias": True}, "mistral": {"sliding_window": 4}, "qwen3": {"head_dim": 16}}.get(kind, {})
    name = {"llama": "LlamaConfig", "mistral": "MistralConfig", "qwen2": "Qwen2Config", "qwen3": "Qwen3Config"}[kind]
    return getattr(transformers, name)(
        **common, **sizes, **own, num_key_value_heads=2, max_position_embeddings=64, bos_token_id=1, eos_token_id=2
    )


@pytest.fixture(scope="session")
def network() -> Callable[..., Any]:
    """Return a maker of random networks, every weight and bias moved away from its initial value."""
    import transformers

    def make(kind: str, head: str = "SequenceClassification") -> Any:
        torch.manual_seed(0)
        made = getattr(transformers, f"AutoModelFor{head}").from_config(_config(kind)).eval().requires_grad_(False)
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
        return made

    return make


@pytest.fixture(scope="session")
def rows() -> list[dict[str, list[int]]]:
    """Seven rows of token ids of lengths 2 to 9, two of them of one length."""
    generator = torch.Generator().manual_seed(1)
    lengths = (5, 9, 2, 7, 5, 8, 3)
    ids = [torch.randint(3, WORDS, (n,), generator=generator).tolist() for n in lengths]
    return [{"input_ids": row, "attention_mask": [1] * len(row)} for row in ids]


@pytest.fixture(scope="session")
def padded(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """The same rows padded on the right to the longest."""
    width = max(len(row["input_ids"]) for row in rows)
    return {
        "input_ids": torch.tensor([row["input_ids"] + [0] * (width - len(row["input_ids"])) for row in rows]),
        "attention_mask": torch.tensor([[1] * len(r["input_ids"]) + [0] * (width - len(r["input_ids"])) for r in rows]),
    }
