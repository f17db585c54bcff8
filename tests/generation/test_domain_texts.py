"""A decoder's loss on texts of the domain, against the loss that transformers computes by itself."""

import pytest
import torch

from holdfast.anchors._origin import Origin
from holdfast.examples import _causal, domain_text
from holdfast.generation import encoding
from holdfast.models import Model
from holdfast.training.forward import Forward
from holdfast.training.pool import Pool


def origin(model: Model, texts: tuple[str, ...]) -> Origin:
    given = {"unlabelled": texts, "max_length": 16, "precision": "fp32"}
    return Origin(model, Pool((), ()), (), 3, dict, lambda head, rows: torch.zeros(0), **given)


def at(model: Model, step: int) -> Forward:
    return Forward(model, Pool((), ()), {}, [], step=step, precision="fp32", load=lambda rows: {})


def test_the_loss_on_texts_is_what_transformers_computes(model, monkeypatch) -> None:
    decoder = model("llama")
    texts = ("the theatre", "1212 and a", "x")
    made = domain_text.auxiliary(origin(decoder, texts), domain_text.Options(weight=0.5, batch=3))
    decoder.network.eval()
    total = tokens = 0.0
    for text in texts:
        ids = torch.tensor([encoding.Encoder(decoder.tokenizer).text(text).input_ids])
        count = ids.shape[1] - 1
        total += decoder.network(input_ids=ids, labels=ids).loss.item() * count
        tokens += count
    assert made(at(decoder, 0)).item() == pytest.approx(0.5 * total / tokens, rel=1e-5)
    monkeypatch.setattr(_causal, "_AT_ONCE", 3 * decoder.network.config.vocab_size)
    assert made(at(decoder, 0)).item() == pytest.approx(0.5 * total / tokens, rel=1e-5)
