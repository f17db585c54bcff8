"""A tiny model, importances made up for it, and a short training run."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from holdfast import models
from holdfast.importance.read import Importance
from holdfast.models import Model

LABELS = ("negative", "positive")


@pytest.fixture
def model(tiny_start, home) -> Model:
    """The tiny BERT (two layers, four heads of eight) with a head of two labels."""
    return models.load_with_head(tiny_start, home, "mood", LABELS, 7)


@pytest.fixture
def network_model() -> Callable[..., Model]:
    """Return a maker of models from a transformers config, without tokenizer."""

    def make(config) -> Model:
        from transformers import AutoModelForSequenceClassification

        torch.manual_seed(0)
        return Model(AutoModelForSequenceClassification.from_config(config).eval(), None)

    return make


@pytest.fixture
def importance(model: Model, tmp_path: Path) -> Importance:
    """Importances with a known order: for heads and layers by hand, per weight drawn with a seed."""
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(1)
    for kind in ("task", "general"):
        drawn = {n: torch.rand(p.shape, generator=generator) ** 4 for n, p in model.encoder_parameters().items()}
        save_file(drawn, tmp_path / f"{kind}.safetensors")
    names = [f"{layer}.{head}" for layer in (0, 1) for head in range(4)]
    task = {
        "tensor": {},
        "head": dict(zip(names, [9, 8, 1, 1, 7, 1, 1, 1], strict=True)),
        "layer": {"0": 2.0, "1": 3.0},
    }
    general = {
        "tensor": {},
        "head": dict(zip(names, [90, 1, 1, 1, 1, 1, 1, 1], strict=True)),
        "layer": {"0": 1.0, "1": 9.0},
    }
    return Importance("fisher", 16, task, general, tmp_path)


@pytest.fixture
def train() -> Callable[[Model, frozenset[str]], None]:
    """Return five AdamW steps of two accumulated batches, clipped; decay 0.1, and 0 on masked tensors."""

    def run(model: Model, masked: frozenset[str], decay_on_masked: float = 0.0) -> None:
        free = {n: p for n, p in model.network.named_parameters() if p.requires_grad}
        groups = [
            {"params": [p for n, p in free.items() if n not in masked], "weight_decay": 0.1},
            {"params": [p for n, p in free.items() if n in masked], "weight_decay": decay_on_masked},
        ]
        optimiser = torch.optim.AdamW(groups, lr=0.01)
        generator = torch.Generator().manual_seed(3)
        for _ in range(5):
            for _ in range(2):
                ids = torch.randint(5, 20, (4, 7), generator=generator)
                model.network(input_ids=ids, labels=torch.tensor([0, 1, 0, 1])).loss.backward()
            torch.nn.utils.clip_grad_norm_(list(free.values()), 0.5)
            optimiser.step()
            optimiser.zero_grad()

    return run
