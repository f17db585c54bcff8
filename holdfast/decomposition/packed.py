"""Rows without padding: the tokens of all texts one after the other, texts of equal length in one group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from holdfast.decomposition.parts import Network

Encoded = dict[str, list[int]]


@dataclass(frozen=True)
class Group:
    """Texts of one length: which tokens of the packed ones they are, and which texts."""

    tokens: slice
    texts: slice
    length: int


@dataclass(frozen=True)
class Packed:
    """N tokens of B texts: `order` says which text each was, `embedded` [N, 1, width] is what enters the first layer.

    `text` [N] and `position` [N] say where a token stands, `read` [B] which tokens the head looks at, `logits` [B, C]
    are what the network itself says, `causal` whether a token sees only what came before it.
    """

    order: list[int]
    groups: tuple[Group, ...]
    embedded: torch.Tensor
    text: torch.Tensor
    position: torch.Tensor
    read: torch.Tensor
    logits: torch.Tensor
    causal: bool


def chunks(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Yield lists of indices of texts, longest first, of at most `tokens` tokens together (or a single text)."""
    chosen: list[int] = []
    held = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if chosen and held + lengths[index] > tokens:
            yield chosen
            chosen, held = [], 0
        chosen.append(index)
        held += lengths[index]
    if chosen:
        yield chosen


def pack(network: Any, parts: Network, encoded: Sequence[Encoded]) -> Packed:
    """Return the texts packed; the network itself gives the embeddings and the logits, group by group."""
    import torch

    order = sorted(range(len(encoded)), key=lambda i: -len(encoded[i]["input_ids"]))
    groups, embedded, logits, tokens, texts = [], [], [], 0, 0
    for length, members in groupby(order, key=lambda i: len(encoded[i]["input_ids"])):
        rows = [encoded[i] for i in members]
        inputs = {key: torch.tensor([row[key] for row in rows], device=network.device) for key in rows[0]}
        entering, said = observe(network, parts, inputs)
        embedded.append(entering.flatten(0, 1).unsqueeze(1))
        logits.append(said if said.dim() == 2 else said[:, -1])
        groups.append(Group(slice(tokens, tokens + len(rows) * length), slice(texts, texts + len(rows)), length))
        tokens, texts = tokens + len(rows) * length, texts + len(rows)
    lengths = torch.tensor([len(encoded[i]["input_ids"]) for i in order])
    ends = lengths.cumsum(0)
    text = torch.arange(len(order)).repeat_interleave(lengths)
    position = torch.arange(tokens) - (ends - lengths)[text]
    read = ends - lengths if parts.read == "first" else ends - 1
    text, position, read = (where.to(network.device) for where in (text, position, read))
    return Packed(order, tuple(groups), torch.cat(embedded), text, position, read, torch.cat(logits), parts.causal)


def observe(network: Any, parts: Network, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what enters the first layer, [B, T, width], and the network's logits, from one forward pass."""
    seen: list[torch.Tensor] = []

    def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append(args[0] if args else kwargs["hidden_states"])

    handle = network.get_submodule(parts.first).register_forward_pre_hook(hook, with_kwargs=True)
    try:
        logits = network(**inputs).logits
    finally:
        handle.remove()
    return seen[0].float(), logits.float()
