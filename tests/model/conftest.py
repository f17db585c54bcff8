"""A stand-in for tuning: what a selection lets move gets random values, and the result is written and stored."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

import holdfast.tuners.registered  # noqa: F401  teaches peft our kinds of adapter
from holdfast import adapters, models
from holdfast.home import Home
from holdfast.models import Model
from holdfast.records import HeadInfo, Start
from holdfast.selection import Selection, attach

LAYER = "bert.encoder.layer"


@dataclass
class Version:
    """A model in memory, the start that describes it, and what it was tuned from."""

    model: Model
    start: Start
    selection: Selection


@pytest.fixture
def every_kind(tiny_start: Start, home: Home) -> Selection:
    """Whole and masked tensors of Linear, LayerNorm and Embedding modules, weights and biases."""
    shapes = {name: p.shape for name, p in models.load(tiny_start, home).encoder_parameters().items()}
    generator = torch.Generator().manual_seed(1)
    parts = (
        "bert.embeddings.word_embeddings.weight",
        f"{LAYER}.0.attention.self.key.weight",
        f"{LAYER}.0.attention.self.key.bias",
        f"{LAYER}.1.output.LayerNorm.weight",
    )
    whole = (
        "bert.embeddings.position_embeddings.weight",
        f"{LAYER}.1.intermediate.dense.weight",
        f"{LAYER}.1.intermediate.dense.bias",
        f"{LAYER}.1.output.LayerNorm.bias",
        "bert.pooler.dense.weight",
    )
    masks = {name: torch.rand(shapes[name], generator=generator) < 0.2 for name in parts}
    return Selection(whole=frozenset(whole), partial=masks)


@pytest.fixture
def tune(home: Home) -> Callable[..., Version]:
    """Return a function that tunes `start` at random within `selection` and stores the adapter."""

    def run(
        start: Start, selection: Selection, seed: int = 0, head: str = "mood", labels: tuple[str, ...] = ("a", "b", "c")
    ) -> Version:
        model = models.load_with_head(start, home, head, labels, seed)
        attach(model, selection)
        shake(model, selection, seed)
        model.network.eval()
        with home.store.scratch() as scratch:
            adapters.write(model, selection, start, home, scratch / "adapter")
            artifact = home.store.put(scratch / "adapter", "adapter")
        heads = {name: HeadInfo(labels=held.labels) for name, held in model.heads.items()}
        return Version(model, start.model_copy(update={"adapter": artifact, "heads": heads}), selection)

    return run


def shake(model: Model, selection: Selection, seed: int) -> None:
    """Give everything that may move new random values."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.network.named_parameters():
            noise = 0.1 * torch.randn(parameter.shape, generator=generator)
            if name in selection.partial:
                parameter[selection.partial[name]] += noise[selection.partial[name]]
            elif parameter.requires_grad:
                parameter.add_(noise)


@pytest.fixture
def low_rank() -> Selection:
    """LoRA on two modules."""
    targets = ["encoder.layer.0.attention.self.query", "encoder.layer.1.output.dense"]
    return Selection(added={"r": 2, "lora_alpha": 4, "target_modules": targets})


@pytest.fixture
def inputs() -> dict[str, torch.Tensor]:
    """Two padded sequences over the tiny vocabulary."""
    ids = torch.tensor([[2, 13, 17, 20, 5, 3], [2, 7, 3, 0, 0, 0]])
    return {"input_ids": ids, "attention_mask": (ids != 0).long()}
