"""Where things are in a network: a table with one row per architecture family, and questions asked of it.

A row says how the parts of an encoder are named, relative to the bare encoder; answers are full names in the network
(`bert.encoder.layer.0`). A new architecture is one more row, unless its query, key and value share one tensor otherwise
than GPT-2's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.errors import BadInput

if TYPE_CHECKING:
    import torch
    from torch import nn

    from holdfast.models import Model

WITHOUT_A_ROW = ("full", "lora", "layernorm", "mask", "layers by pattern")


@dataclass(frozen=True)
class Family:
    """How one family of architectures names its parts, relative to the bare encoder (`layer`) or to one layer.

    Where `query`, `key` and `value` name one module, it is a `Conv1D` as GPT-2's: its weight is [in, 3 x out], query
    first, and that of the output projection is [in, out].
    """

    types: tuple[str, ...]
    layer: str
    query: str
    key: str
    value: str
    output: str
    mlp: tuple[str, ...]
    embeddings: tuple[str, ...]
    pooler: tuple[str, ...] = ()


FAMILIES = (
    Family(
        types=("bert", "roberta", "xlm-roberta", "camembert", "electra"),
        layer="encoder.layer.",
        query="attention.self.query",
        key="attention.self.key",
        value="attention.self.value",
        output="attention.output.dense",
        mlp=("intermediate.dense", "output.dense"),
        embeddings=("embeddings.", "embeddings_project."),
        pooler=("pooler.",),
    ),
    Family(
        types=("distilbert",),
        layer="transformer.layer.",
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        output="attention.out_lin",
        mlp=("ffn.lin1", "ffn.lin2"),
        embeddings=("embeddings.",),
    ),
    Family(
        types=("llama", "mistral", "qwen2", "qwen3"),
        layer="layers.",
        query="self_attn.q_proj",
        key="self_attn.k_proj",
        value="self_attn.v_proj",
        output="self_attn.o_proj",
        mlp=("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
        embeddings=("embed_tokens.",),
    ),
    Family(
        types=("gpt2",),
        layer="h.",
        query="attn.c_attn",
        key="attn.c_attn",
        value="attn.c_attn",
        output="attn.c_proj",
        mlp=("mlp.c_fc", "mlp.c_proj"),
        embeddings=("wte.", "wpe."),
    ),
)


@dataclass(frozen=True)
class Attention:
    """One layer's attention: full module names, and how its rows and columns divide into heads."""

    query: str
    key: str
    value: str
    output: str
    heads: int
    groups: int
    head_dim: int


def known(model: Model) -> bool:
    """Say whether the table has a row for the model's architecture."""
    return any(model.network.config.model_type in family.types for family in FAMILIES)


def family(model: Model, choice: str = "this choice") -> Family:
    """Return the row of the model's architecture; raise `BadInput` naming what works without one."""
    kind = model.network.config.model_type
    for row in FAMILIES:
        if kind in row.types:
            return row
    raise BadInput(
        f"`{choice}` must know where the parts of a network are, and the architecture `{kind}` is not in the table",
        key=f"parameters.{choice}" if choice != "this choice" else "parameters",
        expected=f"one of {', '.join(t for row in FAMILIES for t in row.types)}",
        remedy=f"For any architecture these work: {', '.join(WITHOUT_A_ROW)}.",
    )


def layers(model: Model) -> list[str]:
    """Return the prefixes of the encoder's layers in order, such as `bert.encoder.layer.0`."""
    stem = model.stem + family(model, "layers").layer
    numbers = (int(name) for name, _ in model.network.get_submodule(stem.rstrip(".")).named_children())
    return [f"{stem}{number}" for number in sorted(numbers)]


def embeddings(model: Model) -> list[str]:
    """Return the names of the embedding tensors: word, position and type embeddings and their LayerNorm."""
    return _starting(model, family(model, "embeddings").embeddings)


def pooler(model: Model) -> list[str]:
    """Return the names of the pooler's tensors; empty where the architecture has none."""
    return _starting(model, family(model, "layers").pooler)


def _starting(model: Model, stems: tuple[str, ...]) -> list[str]:
    prefixes = tuple(model.stem + stem for stem in stems)
    return [name for name in model.encoder_parameters() if prefixes and name.startswith(prefixes)]


def layer_norms(model: Model) -> list[str]:
    """Return the names of the tensors of every layer norm of the encoder, found by module type (RMSNorm too)."""
    norms = [name for name, module in model.encoder.named_modules() if is_norm(module)]
    prefixes = tuple(f"{model.encoder_prefix}{name}." for name in norms)
    return [name for name in model.encoder_parameters() if prefixes and name.startswith(prefixes)]


def is_norm(module: nn.Module) -> bool:
    """Say whether a module is a layer norm, by its class's name (`LayerNorm`, `BertLayerNorm`, `LlamaRMSNorm`)."""
    return type(module).__name__.endswith(("LayerNorm", "RMSNorm"))


def is_transposed(module: nn.Module) -> bool:
    """Say whether a linear map keeps its weight as [in, out], as GPT-2's `Conv1D` does, instead of [out, in]."""
    return type(module).__name__ == "Conv1D"


def linear_sizes(module: Any) -> tuple[int, int]:
    """Return how many inputs and outputs a linear map has."""
    first, second = module.weight.shape
    return (int(first), int(second)) if is_transposed(module) else (int(second), int(first))


def attention(model: Model) -> list[Attention]:
    """Return each layer's attention in order."""
    row, config = family(model, "heads"), model.network.config
    heads = config.num_attention_heads
    groups = getattr(config, "num_key_value_heads", None) or heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    return [
        Attention(
            query=f"{layer}.{row.query}",
            key=f"{layer}.{row.key}",
            value=f"{layer}.{row.value}",
            output=f"{layer}.{row.output}",
            heads=heads,
            groups=groups,
            head_dim=head_dim,
        )
        for layer in layers(model)
    ]


def head_places(model: Model, attention: Attention, head: int, kv: str = "shared") -> dict[str, Any]:
    """Return where one head's weights are: {parameter name: index into it}.

    A head is rows of the query, key and value projections (biases too) and COLUMNS of the output projection; with
    `kv="none"` key and value stay out (CT-SFT, arXiv 2601.08146; the slices were checked on Qwen2).
    """
    if attention.query == attention.key:
        return _shared_places(attention, head, kv)
    size = attention.head_dim
    own = slice(head * size, (head + 1) * size)
    group = head // (attention.heads // attention.groups)
    rows = {attention.query: own}
    if kv == "shared":
        rows |= dict.fromkeys((attention.key, attention.value), slice(group * size, (group + 1) * size))
    parameters = model.encoder_parameters()
    names = {f"{module}.{leaf}": place for module, place in rows.items() for leaf in ("weight", "bias")}
    found: dict[str, Any] = {name: place for name, place in names.items() if name in parameters}
    return found | {f"{attention.output}.weight": (slice(None), own)}


def _shared_places(attention: Attention, head: int, kv: str) -> dict[str, Any]:
    """Return one head's places where query, key and value are columns of one weight [in, 3 x out]."""
    size, width = attention.head_dim, attention.heads * attention.head_dim
    own = slice(head * size, (head + 1) * size)
    parts = range(3 if kv == "shared" else 1)
    columns = [part * width + column for part in parts for column in range(own.start, own.stop)]
    module = attention.query
    return {f"{module}.weight": (slice(None), columns), f"{module}.bias": columns, f"{attention.output}.weight": own}


def head_masks(model: Model, attention: Attention, head: int, kv: str = "shared") -> dict[str, torch.Tensor]:
    """Return one head's boolean masks by parameter names, each of its parameter's shape; see `head_places`."""
    import torch

    parameters, masks = model.encoder_parameters(), {}
    for name, place in head_places(model, attention, head, kv).items():
        masks[name] = torch.zeros(parameters[name].shape, dtype=torch.bool)
        masks[name][place] = True
    return masks


def part(model: Model, name: str) -> str:
    """Return which part of the encoder a tensor belongs to: a layer's number, `embeddings`, `pooler` or `rest`.

    Where the architecture is not in the table, the first number in the name is taken for the layer's.
    """
    relative = name.removeprefix(model.stem)
    if not known(model):
        number = re.search(r"\.(\d+)\.", relative)
        return number.group(1) if number else "rest"
    row = family(model)
    if relative.startswith(row.layer):
        return relative[len(row.layer) :].split(".")[0]
    if relative.startswith(row.embeddings):
        return "embeddings"
    return "pooler" if row.pooler and relative.startswith(row.pooler) else "rest"
