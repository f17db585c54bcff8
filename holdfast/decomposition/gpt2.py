"""GPT-2: norm before each part, a causal mask, query, key and value from one transposed linear layer."""

from __future__ import annotations

from typing import Any

from holdfast.decomposition import modules
from holdfast.decomposition.parts import Layer, Mlp, Network

TYPES = ("gpt2",)


def describe(network: Any) -> Network:
    """Return the parts of a GPT-2 with a language-model head or a sequence-classification head."""
    stem = f"{network.base_model_prefix}.h"
    layers = tuple(_layer(block) for block in network.get_submodule(stem))
    final, head = modules.norm(network.base_model.ln_f), (modules.readout(network),)
    return Network(layers, final, head, "last", causal=True, rotary=None, first=f"{stem}.0")


def _layer(block: Any) -> Layer:
    attention, mlp = block.attn, block.mlp
    return Layer(
        norm_first=True,
        norms=(modules.norm(block.ln_1), modules.norm(block.ln_2)),
        qkv=modules.linear(attention.c_attn),
        head_norms=None,
        output=modules.linear(attention.c_proj),
        heads=attention.num_heads,
        groups=attention.num_heads,
        head_dim=attention.head_dim,
        scale=attention.scaling,
        window=None,
        mlp=Mlp(modules.linear(mlp.c_fc), None, modules.linear(mlp.c_proj), mlp.act),
    )
