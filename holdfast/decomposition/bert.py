"""BERT and its family: norm after each part, every position sees every other, the head reads the first token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast import anatomy
from holdfast.decomposition import modules
from holdfast.decomposition.parts import Layer, Mlp, Network

if TYPE_CHECKING:
    from holdfast.decomposition.parts import Function, Linear

TYPES = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert")
_NORMS = {"distilbert": ("sa_layer_norm", "output_layer_norm")}
_ACTIVATION = {"distilbert": "ffn.activation"}


def describe(network: Any, row: anatomy.Family) -> Network:
    """Return the parts of a sequence classifier of the family."""
    kind = network.config.model_type
    stem = f"{network.base_model_prefix}.{row.layer.removesuffix('.')}"
    layers = tuple(_layer(layer, row, network.config) for layer in network.get_submodule(stem))
    head = _head(network, kind)
    return Network(layers, None, head, "first", causal=False, rotary=None, first=f"{stem}.0")


def _layer(layer: Any, row: anatomy.Family, config: Any) -> Layer:
    heads, kind = config.num_attention_heads, config.model_type
    head_dim = config.hidden_size // heads
    norms = _NORMS.get(kind, ("attention.output.LayerNorm", "output.LayerNorm"))
    activation = layer.get_submodule(_ACTIVATION.get(kind, "intermediate.intermediate_act_fn"))
    up, down = (modules.linear(layer.get_submodule(name)) for name in row.mlp)
    return Layer(
        norm_first=False,
        norms=(modules.norm(layer.get_submodule(norms[0])), modules.norm(layer.get_submodule(norms[1]))),
        qkv=modules.stacked([layer.get_submodule(name) for name in (row.query, row.key, row.value)]),
        head_norms=None,
        output=modules.linear(layer.get_submodule(row.output)),
        heads=heads,
        groups=heads,
        head_dim=head_dim,
        scale=head_dim**-0.5,
        window=None,
        mlp=Mlp(up, None, down, activation),
    )


def _head(network: Any, kind: str) -> tuple[Linear | Function, ...]:
    """Return the head's steps; dropouts are left out, as in eval mode."""
    import torch

    if kind == "bert":
        pooler = network.bert.pooler
        return modules.linear(pooler.dense), pooler.activation, modules.linear(network.classifier)
    if kind == "distilbert":
        return modules.linear(network.pre_classifier), torch.relu, modules.linear(network.classifier)
    own = network.classifier
    activation = own.activation if kind == "electra" else torch.tanh
    return modules.linear(own.dense), activation, modules.linear(own.out_proj)
