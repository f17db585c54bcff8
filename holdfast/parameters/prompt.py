"""Learned states before those of the text move: prompt tuning (Lester et al. 2021, arXiv 2104.08691), for encoders.

They begin as the embeddings of words drawn from the vocabulary, as the paper's do. A model with such a prompt is not
the base to begin with. It cannot be merged into weights. See `holdfast.tuners.prompt`.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from pydantic import Field

from holdfast import anatomy, choices, inference
from holdfast.errors import BadInput
from holdfast.parameters import _words
from holdfast.selection import Selection

if TYPE_CHECKING:
    from holdfast.importance.read import Importance
    from holdfast.models import Model

SHORTHAND = "length"
ADDS = "states"


class Options(choices.Options):
    """`length` in tokens; `draw` seeds the words that it begins with."""

    length: int = Field(8, ge=1)
    draw: int = Field(0, ge=0)


def select(model: Model, importance: Importance | None, options: Options) -> Selection:
    """Return the arguments of a `PromptConfig` and its first values.

    Raises `BadInput` for an unknown architecture, and for one whose layers are told positions.
    """
    import torch

    anatomy.family(model, "prompt")
    modules = [layer.removeprefix(model.encoder_prefix) for layer in anatomy.layers(model)]
    if "position_embeddings" in inspect.signature(model.encoder.get_submodule(modules[0]).forward).parameters:
        what = "`prompt` is for layers that are not told positions, as those of BERT"
        raise BadInput(what, key="parameters.prompt", remedy="Choose `prefix`, which works in every layer.")
    with torch.no_grad(), inference.evaluating(model.network):
        states = model.encoder.embeddings(_words.drawn(model, options.length, options.draw))[0].cpu().clone()
    added = {
        "peft_type": "HOLDFAST_PROMPT",
        "target_modules": modules,
        "length": options.length,
        "width": states.shape[1],
        "first": modules[0],
        "last": modules[-1],
    }
    parts = (f"prompt of {options.length} states before {modules[0]}",)
    return Selection(added=added, first={f"{modules[0]}.holdfast_prompt_states": states}, parts=parts)
