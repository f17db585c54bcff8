"""The real encoder: known to the byte, sane in its judgement, and the same after every way through an adapter."""

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModel, AutoModelForSequenceClassification

from holdfast import adapters, bases, export, inference, models
from holdfast.records import Start
from holdfast.selection import Selection

TEXTS = ["The film was wonderful.", "I loved this movie.", "The bank raised its interest rates."]


@pytest.fixture(scope="module")
def start():
    return Start(model="all-MiniLM-L6-v2", base=bases.resolve("all-MiniLM-L6-v2"))


@pytest.mark.slow
def test_sentences_alike_in_meaning_have_embeddings_alike(start, home):
    features = inference.features(models.load(start, home), TEXTS, precision="fp32")
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    similar = features @ features.T
    assert features.shape == (3, 384)
    assert similar[0, 1] > 0.5 and similar[0, 2] < 0.3 and similar[1, 2] < 0.3


@pytest.mark.slow
def test_a_tuned_minilm_is_the_same_by_every_way_back(start, tune, home, tmp_path):
    layer = "bert.encoder.layer.0"
    mask = torch.rand(384, 384, generator=torch.Generator().manual_seed(0)) < 0.01
    whole = frozenset({"bert.embeddings.word_embeddings.weight", f"{layer}.output.LayerNorm.bias"})
    version = tune(start, Selection(whole=whole, partial={f"{layer}.attention.self.value.weight": mask}))
    wanted = inference.logits(version.model, TEXTS, precision="fp32")
    loaded = models.load(version.start, home)
    loaded.use_head("mood")
    assert abs(inference.logits(loaded, TEXTS, precision="fp32") - wanted).max() < 1e-5
    folder = export.export(version.start, home, tmp_path / "merged", merged=True)
    loaded.network = AutoModelForSequenceClassification.from_pretrained(folder)
    assert abs(inference.logits(loaded, TEXTS, precision="fp32") - wanted).max() < 1e-5
    adapter = str(home.store.path(version.start.adapter))
    base = dict(AutoModel.from_pretrained(bases.locate(start.base)).named_parameters())
    adapted = PeftModel.from_pretrained(AutoModel.from_pretrained(bases.locate(start.base)), adapter)
    bare = adapted.unload()
    assert all(torch.equal(p, base[name]) for name, p in bare.named_parameters())
    tuned = adapters.bare(version.model)
    merged = PeftModel.from_pretrained(bare, adapter).merge_and_unload()
    assert all(torch.equal(p, tuned[name]) for name, p in merged.named_parameters())
