"""Llama, Mistral, Qwen2, Qwen3: RMSNorm first, rotated queries and keys, keys shared by groups, a gated MLP.

The paper has no rules for these blocks: all are inferred, also that the biases of Qwen's queries, keys and values are
split as those of other linear maps (`linear`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.decomposition import modules
from holdfast.decomposition.parts import Layer, Mlp, Network

if TYPE_CHECKING:
    import torch

    from holdfast.decomposition.parts import Rotary

TYPES = ("llama", "mistral", "qwen2", "qwen3")


def describe(network: Any) -> Network:
    """Return the parts of a decoder with a language-model head or a sequence-classification head."""
    stem = f"{network.base_model_prefix}.layers"
    layers = tuple(_layer(layer, network.config) for layer in network.get_submodule(stem))
    final, head = modules.norm(network.base_model.norm), (modules.readout(network),)
    rotary = _rotary(network.base_model.rotary_emb)
    return Network(layers, final, head, "last", causal=True, rotary=rotary, first=f"{stem}.0")


def _layer(layer: Any, config: Any) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    window = attention.sliding_window if hasattr(attention, "sliding_window") else None
    if config.model_type == "mistral":
        window = config.sliding_window
    own = (attention.q_norm, attention.k_norm) if hasattr(attention, "q_norm") else None
    return Layer(
        norm_first=True,
        norms=(modules.norm(layer.input_layernorm), modules.norm(layer.post_attention_layernorm)),
        qkv=modules.stacked([attention.q_proj, attention.k_proj, attention.v_proj]),
        head_norms=None if own is None else (modules.norm(own[0]), modules.norm(own[1])),
        output=modules.linear(attention.o_proj),
        heads=config.num_attention_heads,
        groups=config.num_key_value_heads,
        head_dim=attention.head_dim,
        scale=attention.scaling,
        window=window,
        mlp=Mlp(modules.linear(mlp.up_proj), modules.linear(mlp.gate_proj), modules.linear(mlp.down_proj), mlp.act_fn),
    )


def _rotary(module: Any) -> Rotary:
    def rotary(positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        cos, sin = module(torch.zeros(1, device=positions.device), positions.unsqueeze(0))
        return cos[0], sin[0]

    return rotary
