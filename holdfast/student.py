"""A smaller start model: some of the layers of a larger one, for distillation into it (Sanh et al. 2019).

DistilBERT began as every other layer of its teacher (arXiv 1910.01108). The folder is a base model like any other;
tuned with `objective: {kd: models:/TEACHER@champion}` it learns the teacher's answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast import adapters, anatomy, bases, models, parts
from holdfast.errors import BadInput

if TYPE_CHECKING:
    from holdfast.home import Home
    from holdfast.models import Model
    from holdfast.records import Start


def spread(depth: int, count: int) -> list[int]:
    """Return `count` of `depth` layers, evenly spread, the first among them: 0, 2, 4 of six, as DistilBERT's."""
    return [number * depth // count for number in range(count)]


def make(start: Start, layers: int | Sequence[int], home: Home, folder: Path) -> list[int]:
    """Write a base model of some of a model's layers into a new or empty `folder`, and return which.

    `layers` are their numbers in order, or how many to spread. Raises `BadInput` where the folder is not empty, a layer
    is not there, or all are named; nothing is left behind then.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput("is not empty", file=folder, remedy="Name a new or an empty folder.")
    kind = adapters.stays_beside(home.store.open(start.adapter)) if start.adapter else None
    if kind is not None:
        raise BadInput(f"`{start.model}` is more than its weights: what {kind.peft_type} adds stays beside them")
    model = models.load(start, home)
    names = anatomy.layers(model)
    chosen = spread(len(names), layers) if isinstance(layers, int) else list(layers)
    if not 0 < len(chosen) < len(names) or chosen != sorted({*chosen} & {*range(len(names))}):
        wanted = f"1 to {len(names) - 1} different layers of 0 to {len(names) - 1}, in order"
        raise BadInput(
            f"cannot take the layers {', '.join(map(str, chosen)) or 'none'}", key="--layers", expected=wanted
        )
    _shorten(model, names, chosen)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with parts.making(folder.parent) as scratch, bases.quiet():
        model.encoder.save_pretrained(scratch / "student")
        adapters.save_tokenizer(model.tokenizer, scratch / "student")
        if folder.exists():
            folder.rmdir()
        (scratch / "student").rename(folder)
    return chosen


def _shorten(model: Model, names: list[str], chosen: list[int]) -> None:
    """Leave only the chosen layers in a model."""
    from torch import nn

    place, _, _ = names[0].rpartition(".")
    parent, _, leaf = place.rpartition(".")
    kept = [model.network.get_submodule(names[number]) for number in chosen]
    setattr(model.network.get_submodule(parent), leaf, nn.ModuleList(kept))
    config: Any = model.network.config
    config.num_hidden_layers = len(kept)
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[number] for number in chosen]
