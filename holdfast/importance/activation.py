"""Weight times activation, after Wanda (Sun et al. 2023, arXiv 2306.11695): S_ij = |W_ij| * ||X_j||_2.

X_j is what input j of a module takes over all real tokens of all texts; padding is left out. The norm is divided by
the square root of the number of tokens (a root mean square), which changes no order and makes texts of different
length comparable. No gradient and no label is used.

Wanda is about linear layers. Extended here by the same rule, the input of a bias being 1, that of a layer norm's weight
its normalised input, and that of an embedding row how often (root of the share of tokens) it is looked up. Inferred.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from holdfast import inference
from holdfast.errors import HoldfastError
from holdfast.importance import gradients

if TYPE_CHECKING:
    import torch
    from torch import nn

    from holdfast.importance.gradients import Call
    from holdfast.models import Model

_BATCH = 32


def activation(
    model: Model,
    texts: Sequence[str],
    targets: Sequence[int],
    max_length: int,
    seed: int,
    precision: str = "fp32",
) -> dict[str, torch.Tensor]:
    """Return |W| times the root mean square of its input, for every parameter that is used, by name; 0 elsewhere.

    `targets` and `seed` are not looked at. Raises `HoldfastError` for a module that is not linear, a layer norm or an
    embedding.
    """
    import torch

    encoded = inference.encode(model, texts, max_length)
    squares: dict[str, torch.Tensor] = {}
    tokens: dict[str, int] = {}
    with gradients.eval_mode(model.network), torch.no_grad():
        for chosen in inference.batches_by_length([len(e["input_ids"]) for e in encoded], _BATCH):
            inputs = model.tokenizer.pad([encoded[i] for i in chosen], return_tensors="pt").to(model.network.device)
            with gradients.recording(model.network, len(chosen)) as calls, inference.autocast(precision):
                model.network(**inputs)
            for call in calls:
                values = _real_tokens(call.inputs, inputs["attention_mask"], _is_ids(call.module))
                squares[call.name] = squares.get(call.name, 0) + _squares(call, values)
                tokens[call.name] = tokens.get(call.name, 0) + len(values)
    return {name: _score(model, name, p, squares, tokens).cpu() for name, p in model.network.named_parameters()}


def _is_ids(module: nn.Module) -> bool:
    from torch import nn

    return isinstance(module, nn.Embedding)


def _real_tokens(inputs: torch.Tensor, mask: torch.Tensor, ids: bool) -> torch.Tensor:
    """Return what went in as [tokens, width] (ids: [tokens]), padding left out where there is a row per position."""
    positions = inputs.shape[: len(inputs.shape) - (0 if ids else 1)]
    if tuple(positions) == tuple(mask.shape):
        return inputs[mask.bool()]
    return inputs.reshape(-1) if ids else inputs.reshape(-1, inputs.shape[-1])


def _squares(call: Call, values: torch.Tensor) -> torch.Tensor:
    """Return the sum over tokens of each input's square (for an embedding, how often each row is looked up)."""
    import torch
    from torch import nn
    from torch.nn import functional

    module = call.module
    if isinstance(module, nn.Embedding):
        return torch.bincount(values, minlength=module.num_embeddings).to(module.weight.dtype)
    if isinstance(module, nn.Linear):
        return values.square().sum(0)
    if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
        return functional.layer_norm(values, module.normalized_shape, eps=module.eps).square().sum(0)
    raise HoldfastError(
        f"importance: `activation` is not defined for `{call.name}`, a {type(module).__name__}; choose another measure"
    )


def _score(
    model: Model, name: str, parameter: nn.Parameter, squares: dict[str, torch.Tensor], tokens: dict[str, int]
) -> torch.Tensor:
    import torch

    module, _, leaf = name.rpartition(".")
    if module not in squares:
        return torch.zeros_like(parameter)
    if leaf == "bias":
        return parameter.detach().abs()
    norm = (squares[module] / tokens[module]).sqrt()
    rows = _is_ids(model.network.get_submodule(module))
    return parameter.detach().abs() * (norm.unsqueeze(1) if rows else norm)
