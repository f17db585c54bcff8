"""Tiny networks of several architectures, and the slow independent way to get per-example gradients: one at a time."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from holdfast.models import Head, Model

LABELS = ("negative", "neutral", "positive")
TEXTS = [
    "the movie was good",
    "a very bad movie",
    "the food was not nice and the service was awful",
    "great",
    "food food food and food",
    "bagus and enak",
    "the service is fine",
    "jelek buruk nasty awful poor bad movie the the the a",
]
TARGETS = [2, 0, 0, 2, 1, 2, 1, 0]


def _config(kind: str, words: int):
    from transformers import BertConfig, DistilBertConfig, ElectraConfig, LlamaConfig, RobertaConfig

    common = {"vocab_size": words, "num_labels": len(LABELS), "pad_token_id": 0}
    bert = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    if kind == "bert":
        return BertConfig(**common, **bert, max_position_embeddings=64)
    if kind == "roberta":
        return RobertaConfig(**common, **bert, max_position_embeddings=66)
    if kind == "electra":
        return ElectraConfig(**common, **bert, embedding_size=16, max_position_embeddings=64)
    if kind == "distilbert":
        return DistilBertConfig(**common, dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=64)
    return LlamaConfig(**common, **bert, num_key_value_heads=2, max_position_embeddings=64)


@pytest.fixture(scope="session")
def make_model(tiny_base: Path) -> Callable[..., Model]:
    """Return a maker of models: an architecture, a precision and a number of labels to a random network with a head."""

    def make(kind: str = "bert", dtype: torch.dtype = torch.float32, labels: int = 3) -> Model:
        from transformers import AutoModelForSequenceClassification

        tokenizer = AutoTokenizer.from_pretrained(tiny_base)
        if kind in ("distilbert", "llama"):
            tokenizer.model_input_names = ["input_ids", "attention_mask"]
        config = _config(kind, len(tokenizer))
        config.num_labels = labels
        torch.manual_seed(0)
        network = AutoModelForSequenceClassification.from_config(config, dtype=dtype).eval()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
        model = Model(network, tokenizer)
        names = LABELS if labels == 3 else tuple(f"label-{i}" for i in range(labels))
        model.heads["mood"] = Head(names, model.head_parameters())
        model.head = "mood"
        return model

    return make


@pytest.fixture(scope="session")
def loop() -> Callable[..., dict[str, torch.Tensor]]:
    """Return the mean over texts of sum_c weight(c) power(d log p(c|x) / dw): one text and one label at a time."""

    def run(model: Model, weight: Callable, power: Callable, texts: list[str] = TEXTS) -> dict[str, torch.Tensor]:
        names, parameters = zip(*model.network.named_parameters(), strict=True)
        totals = {name: torch.zeros_like(p) for name, p in zip(names, parameters, strict=True)}
        for i, text in enumerate(texts):
            log_p = model.network(**model.tokenizer(text, return_tensors="pt")).logits.log_softmax(-1)[0]
            for c in range(len(log_p)):
                found = torch.autograd.grad(log_p[c], parameters, retain_graph=True, allow_unused=True)
                for name, gradient in zip(names, found, strict=True):
                    if gradient is not None:
                        totals[name] += weight(i, c, log_p.detach().exp()) * power(gradient) / len(texts)
        return totals

    return run
