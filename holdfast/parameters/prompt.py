"""Learned states before those of the text move: prompt tuning (Lester et al. 2021, arXiv 2104.08691).

They begin as the embeddings of words drawn from the vocabulary, as the paper's do. A model with such a prompt is not
the base to begin with. It cannot be merged into weights. See `holdfast.tuners.prompt`, also for what position it has.
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
    from torch import Tensor

    from holdfast.importance.read import Importance
    from holdfast.models import Model

SHORTHAND = "length"
ADDS = "states"
BELOW = "nothing: the prompt goes through every layer"


class Options(choices.Options):
    """`length` in tokens; `draw` seeds the words that it begins with."""

    length: int = Field(8, ge=1)
    draw: int = Field(0, ge=0)


def select(model: Model, importance: Importance | None, options: Options) -> Selection:
    """Return the arguments of a `PromptConfig` and its first values.

    Raises `BadInput` for an unknown architecture, and for an encoder whose layers are told positions.
    """
    row = anatomy.family(model, "prompt")
    modules = [layer.removeprefix(model.encoder_prefix) for layer in anatomy.layers(model)]
    told = inspect.signature(model.encoder.get_submodule(modules[0]).forward).parameters
    if not model.generates and "position_embeddings" in told:
        what = "`prompt` is for encoders whose layers are not told positions, as those of BERT, and for generation"
        raise BadInput(what, key="parameters.prompt", remedy="Choose `prefix`, which works in every layer.")
    states = _states(model, options)
    added = {
        "peft_type": "HOLDFAST_PROMPT",
        "target_modules": modules,
        "length": options.length,
        "width": states.shape[1],
        "first": modules[0],
        "last": modules[-1],
        "attention": row.query.rpartition(".")[0] if model.generates else "",
    }
    parts = (f"prompt of {options.length} states before {modules[0]}",)
    return Selection(added=added, first={f"{modules[0]}.holdfast_prompt_states": states}, parts=parts)


def _states(model: Model, options: Options) -> Tensor:
    """Return what the first layer reads of the drawn words, [length, width]; of a decoder, without their positions."""
    import torch

    words = _words.drawn(model, options.length, options.draw)
    with torch.no_grad(), inference.evaluating(model.network):
        embed = model.network.get_input_embeddings() if model.generates else model.encoder.embeddings
        states: Tensor = embed(words)[0].cpu().clone()
    return states
