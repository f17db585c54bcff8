"""Batched inference: texts grouped by length, logits and pooled features in the order of the input."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast import read_position

if TYPE_CHECKING:
    import torch
    from torch import nn

    from holdfast.models import Model
    from holdfast.prefix.cache import Prefix

Progress = Callable[[int], None]
# Batches are padded to a multiple of so many tokens: processors and accelerators prepare their matrix products anew for
# every shape that they have not met, which for bf16 on a processor costs more than a short batch itself.
MULTIPLE = 8


def has_bf16() -> bool:
    """Say whether this machine computes bf16 matrix products natively (avx512_bf16, amx or a CUDA device that does)."""
    import torch

    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    capabilities = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(capabilities and capabilities())


def autocast(precision: str) -> Any:
    """Return the context in which forwards run: bf16 autocast for `bf16`, and for `auto` where the machine has it."""
    import torch

    if precision == "fp32" or (precision == "auto" and not has_bf16()):
        return nullcontext()
    return torch.autocast("cuda" if torch.cuda.is_available() else "cpu", dtype=torch.bfloat16)


@contextmanager
def cast_once(network: nn.Module, precision: str, moving: Collection[nn.Parameter] = ()) -> Iterator[None]:
    """Cast the weights of linear layers for `autocast(precision)` once, not at every forward: the same numbers, sooner.

    No weight may change while the context lasts, but for the `moving` ones, which stay as they are.
    """
    import torch

    if precision == "fp32" or (precision == "auto" and not has_bf16()):
        yield
        return
    apart = {id(parameter) for parameter in moving}
    layers = [module for module in network.modules() if type(module) is torch.nn.Linear]
    own = [layer for layer in layers if not any(id(p) in apart for p in layer.parameters(recurse=False))]
    own = [layer for layer in own if "forward" not in vars(layer)]  # of which another context has already taken care
    for layer in own:
        layer.forward = _in_bf16(layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in own:
            del layer.forward


def _in_bf16(layer: nn.Linear) -> Callable[[torch.Tensor], torch.Tensor]:
    import torch

    weight = layer.weight.detach().bfloat16()
    bias = None if layer.bias is None else layer.bias.detach().bfloat16()
    return functools.partial(torch.nn.functional.linear, weight=weight, bias=bias)


def linear_map(layer: nn.Module, precision: str) -> tuple[torch.Tensor, torch.Tensor | None] | None:
    """Return the weight and bias that a linear layer uses under `autocast(precision)`, cast.

    None for another kind of layer, and for one whose calls somebody watches.
    """
    import torch

    own = vars(layer).get("forward")
    if layer._forward_hooks or layer._forward_pre_hooks:
        return None
    if isinstance(own, functools.partial) and own.func is torch.nn.functional.linear:
        return own.keywords["weight"], own.keywords["bias"]
    if type(layer) is not torch.nn.Linear or own is not None:
        return None
    with torch.no_grad(), autocast(precision):
        dtype = torch.nn.functional.linear(layer.weight[:1], layer.weight[:1]).dtype
    return layer.weight.detach().to(dtype), None if layer.bias is None else layer.bias.detach().to(dtype)


def batches_by_length(lengths: Sequence[int], batch: int, tokens: int | None = None) -> Iterator[list[int]]:
    """Yield lists of at most `batch` indices, longest texts first, so that a batch pads little.

    With `tokens` a batch has at most so many places, padding included, unless one text alone has more.
    """
    order, first = [int(i) for i in np.argsort(-np.asarray(lengths), kind="stable")], 0
    while first < len(order):
        most = batch if tokens is None else min(batch, max(1, tokens // max(1, lengths[order[first]])))
        yield order[first : first + most]
        first += most


def encode(model: Model, texts: Sequence[str], max_length: int) -> list[dict[str, list[int]]]:
    """Return each text's token ids and attention mask, cut to `max_length` or what the model can read, not padded."""
    most = min(max_length, model.tokenizer.model_max_length)
    encoded = model.tokenizer(list(texts), truncation=True, max_length=most)
    return [{key: encoded[key][i] for key in encoded} for i in range(len(texts))]


def pad(model: Model, encoded: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Return rows of token ids padded alike, int64 [rows, tokens] each: to `MULTIPLE`, where the model reads so far."""
    longest = max(len(row["input_ids"]) for row in encoded)
    width = -(-longest // MULTIPLE) * MULTIPLE
    width = width if width <= model.tokenizer.model_max_length else longest
    left = model.tokenizer.padding_side == "left"
    return {name: _filled([row[name] for row in encoded], width, _filler(model, name), left) for name in encoded[0]}


def _filler(model: Model, name: str) -> int:
    """Return what a tokenizer pads with, by the name of an input."""
    known = {"input_ids": model.tokenizer.pad_token_id, "token_type_ids": model.tokenizer.pad_token_type_id}
    return int(known.get(name, 0))


def _filled(rows: Sequence[list[int]], width: int, filler: int, left: bool) -> torch.Tensor:
    """Return rows of numbers filled up to a width; a tokenizer's own `pad` takes milliseconds for it."""
    import torch

    gaps = [[filler] * (width - len(row)) for row in rows]
    return torch.tensor([gap + row if left else row + gap for gap, row in zip(gaps, rows, strict=True)])


def logits(
    model: Model,
    texts: Sequence[str],
    *,
    max_length: int = 128,
    batch: int = 32,
    precision: str = "auto",
    progress: Progress | None = None,
    prefix: Prefix | None = None,
) -> np.ndarray:
    """Return the logits of the head in place, float32 [texts, labels], computed in eval mode without gradients.

    Where there is a `prefix`, the layers below its cut are run once for the same texts and no more.
    """
    if not texts:
        return np.zeros((0, len(model.labels)), np.float32)
    with read_position.first(model):
        return _run(model, texts, lambda output, inputs: output.logits, max_length, batch, precision, progress, prefix)


def features(
    model: Model, texts: Sequence[str], *, max_length: int = 128, batch: int = 32, precision: str = "auto"
) -> np.ndarray:
    """Return the mean of the encoder's last hidden states over real tokens, float32 [texts, hidden]."""

    def pool(output: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        mask = inputs["attention_mask"].unsqueeze(-1)
        states = output.hidden_states[-1][:, -mask.shape[1] :]  # a learned prompt stands before the text's states
        return (states.float() * mask).sum(1) / mask.sum(1)

    if not texts:
        return np.zeros((0, model.network.config.hidden_size), np.float32)
    return _run(model, texts, pool, max_length, batch, precision, None, None, output_hidden_states=True)


def _run(
    model: Model,
    texts: Sequence[str],
    take: Callable[[Any, dict[str, torch.Tensor]], torch.Tensor],
    max_length: int,
    batch: int,
    precision: str,
    progress: Progress | None,
    prefix: Prefix | None,
    **forward: bool,
) -> np.ndarray:
    import torch

    encoded, device = encode(model, texts, max_length), model.network.device
    rows: list[np.ndarray | None] = [None] * len(texts)
    kept = prefix.rows(encoded) if prefix is not None else None
    with evaluating(model.network), torch.inference_mode(), autocast(precision), cast_once(model.network, precision):
        for chosen in batches_by_length([len(e["input_ids"]) for e in encoded], batch):
            inputs = {name: value.to(device) for name, value in pad(model, [encoded[i] for i in chosen]).items()}
            with kept.entering(chosen, inputs["input_ids"].shape[1]) if kept is not None else nullcontext():
                values = take(model.network(**inputs, **forward), inputs).float().cpu().numpy()
            for i, value in zip(chosen, values, strict=True):
                rows[i] = value
            if progress:
                progress(len(chosen))
    stacked: np.ndarray = np.stack(rows)
    return stacked


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network in eval mode; afterwards every module is in the mode it had (frozen parts may differ)."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
