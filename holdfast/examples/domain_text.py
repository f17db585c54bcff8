"""Self-supervised integration: a language model's loss on unlabelled texts of the domain, beside the rows learned.

domain-text: 0.1
domain-text: {weight: 0.1, batch: 8}

Part of the wider reading of S3FT; which loss, weight and batch its authors would take is not known: all inferred. An
encoder predicts masked tokens (BERT's rule, Devlin et al. 2018, arXiv 1810.04805), a decoder every next token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from holdfast import choices
from holdfast.examples import _texts

if TYPE_CHECKING:
    from holdfast.anchors._origin import Anchor, Origin

SHORTHAND = "weight"
USES_UNLABELLED = True


class Options(choices.Options):
    """`weight` of the loss per predicted token (nats), and how many texts of `learn.unlabelled` each update reads.

    `masked` is the share of an encoder's tokens that are to be predicted.
    """

    weight: float = Field(0.1, gt=0)
    batch: int = Field(8, ge=1)
    masked: float = Field(0.15, gt=0, lt=1)


def draw(tasks: Sequence[str], epoch: int, seed: int, options: Options) -> list[int]:
    """Return the positions of the rows to be learned; the unlabelled texts come in batches of their own."""
    return _texts.gold(tasks)


def auxiliary(origin: Origin, options: Options) -> Anchor:
    """Return weight times the mean cross entropy of the tokens to be predicted in the step's texts."""
    from holdfast.examples import _causal, _masked

    if origin.model.generates:
        return _causal.Causal(origin, options.weight, options.batch)
    return _masked.Masked(origin, options.weight, options.batch, options.masked)
