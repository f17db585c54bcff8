"""The weights whose change is worth most move: diff pruning (Guo et al. 2021, arXiv 2012.07463).

First the whole encoder is tuned as w = w0 + z d, with a gate z per weight from a hard concrete distribution and a
penalty on how many gates are open; then the `share` of weights with the largest |z d| is kept and the rest cut off:
see `holdfast.parameters._gates`. Then those weights are tuned with the mask fixed, from the cut values w0 + z d and the
head learned with them; contract, anchors and controller hold on to the start model, w0. Departures: the paper
gates whole tensors too (its structured variant); and here the gated tuning is plain cross entropy, while the file's own
objective, anchors and schedule hold for the tuning that follows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from holdfast import choices, patch
from holdfast.errors import BadInput
from holdfast.parameters import mask
from holdfast.selection import Selection

if TYPE_CHECKING:
    from holdfast.importance.read import Importance
    from holdfast.models import Model
    from holdfast.training.job import Given

SHORTHAND = "share"
BELOW = "nothing, but where no weight of the embeddings and the lowest layers is among the chosen"


class Options(choices.Options):
    """`share` of the encoder's weights that are kept (the paper: 0.005), `epochs` of the gated tuning.

    `penalty` times the mean probability of an open gate is added to the loss (the paper: 1.25e-7 times their sum, which
    is about 40 for its 335 M weights); `gate_rate` is the gates' own learning rate (inferred).
    """

    share: float = Field(0.005, gt=0, lt=1)
    epochs: float = Field(1.0, gt=0)
    penalty: float = Field(40.0, ge=0)
    gate_rate: float = Field(0.1, gt=0)


def learns(options: Options) -> bool:
    """Say that data must be seen before anything can be selected."""
    return True


def select(model: Model, importance: Importance | None, options: Options) -> Selection:
    """Raise `BadInput`: this choice is made by tuning, which needs data."""
    raise BadInput("`diff-pruning` chooses by tuning with gates, which needs data", key="parameters.diff-pruning")


def learn(given: Given, model: Model, importance: Importance | None, options: Options) -> Selection:
    """Return the mask of the largest |z d| over the encoder, and the values there to go on from.

    Raises `BadInput` when the share is not one weight.
    """
    from holdfast.parameters import _gates

    gated = _gates.learn(given, options.epochs, options.penalty, options.gate_rate)
    sizes = {name: change.abs() for name, change in gated.changes.items()}
    partial = mask.largest(sizes, options.share, "parameters.diff-pruning.share")
    begun = patch.make({**gated.weights, **gated.head}, gated.head, partial)
    count = sum(int(found.sum()) for found in partial.values())
    note = f"weights ranked by their gated change in {options.epochs:g} epochs of tuning, from which they go on"
    parts = (f"{count} weights in {len(partial)} tensors",)
    return Selection(partial=partial, begun=begun, parts=parts, notes=(note,))
