"""The rows of a task as a circuit is found on them: packed, in chunks that fit memory, each label of equal weight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from holdfast.decomposition import packed

if TYPE_CHECKING:
    import torch

    from holdfast.decomposition.packed import Encoded, Packed
    from holdfast.decomposition.parts import Network

Margin = Literal["mean", "strongest"]
_NUMBERS = 1 << 27  # kept at once, in all layers' activations of one chunk: 512 MiB in fp32


@dataclass(frozen=True)
class Chunk:
    """Some of the rows: packed, with their labels' columns [B] and their weights [B] (all chunks' add up to 1)."""

    packed: Packed
    targets: torch.Tensor
    weights: torch.Tensor


def chunks(
    network: Any,
    parts: Network,
    encoded: Sequence[Encoded],
    targets: Sequence[int],
    columns: Sequence[int] | None = None,
) -> list[Chunk]:
    """Return the rows in chunks; a row weighs 1 / (labels * rows of its label), so that every label counts alike.

    `columns` are the logits that `parts` was described with, None for all.
    """
    import torch

    counts = Counter(targets)
    weights = [1 / (len(counts) * counts[target]) for target in targets]
    found = []
    lengths = [len(row["input_ids"]) for row in encoded]
    for chosen in packed.chunks(lengths, _NUMBERS // _numbers_per_token(parts)):
        one = packed.pack(network, parts, [encoded[i] for i in chosen])
        if columns is not None:
            one = replace(one, logits=one.logits[:, list(columns)])
        order = [chosen[i] for i in one.order]
        device = one.logits.device
        labels = torch.tensor([targets[i] for i in order], device=device)
        found.append(Chunk(one, labels, torch.tensor([weights[i] for i in order], device=device)))
    return found


def _numbers_per_token(parts: Network) -> int:
    """Return about how many numbers `whole.run` keeps for each token."""
    return sum(
        7 * layer.output.weight.shape[0] + sum(layer.widths) + 3 * layer.mlp.up.weight.shape[0]
        for layer in parts.layers
    )


def margins(values: torch.Tensor, said: torch.Tensor, targets: torch.Tensor, kind: Margin) -> torch.Tensor:
    """Return value(label) less that of its competitors, [B, S], of values [B, S, C], logits or parts of them.

    The competitors are all other labels, averaged (`mean`), or the one with the highest logit in `said` [B, C].
    """
    import torch

    own = torch.nn.functional.one_hot(targets, values.shape[-1]).to(values.dtype)
    if kind == "mean":
        other = (1 - own) / (values.shape[-1] - 1)
    else:
        rival = said.masked_fill(own.bool(), float("-inf")).argmax(-1)
        other = torch.nn.functional.one_hot(rival, values.shape[-1]).to(values.dtype)
    return torch.einsum("bsc,bc->bs", values, own - other)
