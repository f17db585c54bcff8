"""Each choice selects exactly what it says, and says what it could not find."""

import pytest
import torch

from holdfast import choices, selection
from holdfast.errors import BadInput
from holdfast.selection import Selection


def chosen(model, raw, importance=None) -> Selection:
    return selection._united(model, importance, choices.parse("parameters", raw, "parameters"))


def size(model):
    return sum(parameter.numel() for parameter in model.network.base_model.parameters())


def names(model, *fragments):
    return {n for n in model.encoder_parameters() if any(f in n for f in fragments)}


def test_full_is_the_whole_encoder_and_not_the_head(model):
    found = chosen(model, "full")
    assert found.whole == model.encoder_parameters().keys() and not found.partial
    assert selection.moved(found, model) == selection.total(model) == size(model)


@pytest.mark.parametrize(
    ("raw", "fragments"),
    [
        ({"layers": [1]}, ["encoder.layer.1."]),
        ({"layers": 1}, ["encoder.layer.1."]),
        ({"layers": [-2]}, ["encoder.layer.0."]),
        ({"layers": ["0", "pooler"]}, ["encoder.layer.0.", "pooler."]),
        ({"layers": ["embeddings"]}, ["bert.embeddings."]),
        ({"layers": ["*.query.*"]}, ["query"]),
        ({"embeddings": True}, ["bert.embeddings."]),
        ({"layernorm": True}, ["LayerNorm"]),
        ({"layers": [0], "embeddings": True, "layernorm": True}, ["encoder.layer.0.", "bert.embeddings.", "LayerNorm"]),
    ],
)
def test_whole_tensors_by_name(model, raw, fragments):
    found = chosen(model, raw)
    assert found.whole == names(model, *fragments) and not found.partial


def test_layernorm_is_every_norm_of_every_family(network_model):
    from transformers import DistilBertConfig, LlamaConfig

    size = {"vocab_size": 30, "pad_token_id": 0}
    llama = network_model(LlamaConfig(**size, hidden_size=32, num_hidden_layers=2, num_attention_heads=4))
    found = chosen(llama, "layernorm")
    assert found.whole == names(llama, "norm.weight", "layernorm.weight") and len(found.whole) == 5
    distilbert = network_model(DistilBertConfig(**size, dim=32, n_layers=2, n_heads=4, hidden_dim=64))
    assert len(chosen(distilbert, "layernorm").whole) == 2 * (1 + 2 * 2)


def test_a_head_is_exactly_its_rows_and_output_columns(model):
    found = chosen(model, {"heads": ["1.2"]})
    stem, wanted = "bert.encoder.layer.1.attention.", {}
    for part in ("query", "key", "value"):
        for leaf in ("weight", "bias"):
            name = f"{stem}self.{part}.{leaf}"
            wanted[name] = torch.zeros(model.encoder_parameters()[name].shape, dtype=torch.bool)
            wanted[name][16:24] = True
    wanted[f"{stem}output.dense.weight"] = torch.zeros(32, 32, dtype=torch.bool)
    wanted[f"{stem}output.dense.weight"][:, 16:24] = True
    assert not found.whole and found.partial.keys() == wanted.keys()
    assert all(torch.equal(found.partial[name], mask) for name, mask in wanted.items())
    assert selection.moved(found, model) == 4 * 8 * 32 + 3 * 8


def test_what_a_heads_mask_lets_move_is_what_changes_that_heads_output_only(model):
    """Independent of names: perturbing the masked query, key and value entries changes one head's slice alone."""
    seen = []
    attention = model.network.bert.encoder.layer[0].attention
    attention.output.dense.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    ids = torch.arange(5, 12).unsqueeze(0)
    model.network(input_ids=ids)
    found = chosen(model, {"heads": ["0.1"]})
    with torch.no_grad():
        for name, mask in found.partial.items():
            model.encoder_parameters()[name][mask] += 0.5
    model.network(input_ids=ids)
    changed = (seen[0] != seen[1]).any(0).any(0)
    assert changed.nonzero().flatten().tolist() == list(range(8, 16))


def test_all_heads_of_a_layer_become_whole_tensors(model):
    found = chosen(model, {"heads": ["0.0", "0.1", "0.2", "0.3"]})
    assert not found.partial and "bert.encoder.layer.0.attention.output.dense.weight" in found.whole
    assert "bert.encoder.layer.0.attention.output.dense.bias" not in found.whole


@pytest.mark.parametrize(("kv", "rows"), [("shared", 8), ("none", 0)])
def test_grouped_heads_share_key_and_value_or_leave_them(network_model, kv, rows):
    from transformers import LlamaConfig

    config = LlamaConfig(
        vocab_size=30, pad_token_id=0, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2
    )
    model = network_model(config)
    found = chosen(model, {"heads": {"names": ["0.3"], "kv": kv}})
    stem = "model.layers.0.self_attn."
    assert found.partial[f"{stem}q_proj.weight"][24:].all() and found.partial[f"{stem}q_proj.weight"].sum() == 8 * 32
    assert found.partial[f"{stem}o_proj.weight"][:, 24:].all() and found.partial[f"{stem}o_proj.weight"].sum() == 8 * 32
    key = found.partial.get(f"{stem}k_proj.weight", torch.zeros(16, 32, dtype=torch.bool))
    assert key.sum() == rows * 32 and key[:8].sum() == 0


def test_heads_by_count_follow_the_documented_order(model, importance):
    """With task t and general g, each over its mean, the order is that of t / g: head 0.0 drops behind."""
    assert chosen(model, {"heads": {"count": 2, "by": "task"}}, importance).parts == ("head 0.0", "head 0.1")
    found = chosen(model, {"heads": 2}, importance)
    assert found.parts == ("head 0.1", "head 1.0")
    assert found.notes == ("heads ranked by task-over-general (fisher, 16 examples)",)


def test_without_general_importance_the_task_ranks_alone_and_the_plan_says_so(model, importance):
    alone = type(importance)("fisher", 16, importance.task, None, importance.folder)
    found = chosen(model, {"heads": 1}, alone)
    assert found.parts == ("head 0.0",) and "task importance alone" in found.notes[0]


def test_layers_by_count(model, importance):
    assert chosen(model, {"layers": {"count": 1, "by": "task"}}, importance).parts == ("layer 1",)
    found = chosen(model, {"layers": {"count": 1}}, importance)
    assert found.parts == ("layer 0",) and found.whole == names(model, "encoder.layer.0.")


@pytest.mark.parametrize("by", ["task", "task-over-general"])
def test_the_mask_is_the_top_share_over_all_tensors(model, importance, by):
    found = chosen(model, {"mask": {"share": 0.01, "by": by}}, importance)
    task, general = importance.elementwise("task"), importance.elementwise("general")
    t = torch.cat([v.flatten() for v in task.values()]).double()
    g = torch.cat([v.flatten() for v in general.values()]).double()
    score = t / t.mean() if by == "task" else t / t.mean() / (g / g.mean() + 1)
    wanted = set(score.argsort(descending=True)[: round(0.01 * size(model))].tolist())
    full = [found.partial.get(name, torch.zeros(v.shape, dtype=torch.bool)).flatten() for name, v in task.items()]
    assert set(torch.cat(full).nonzero().flatten().tolist()) == wanted
    assert selection.moved(found, model) == round(0.01 * size(model)) and not found.whole


def test_ties_in_the_mask_go_to_the_earlier_weight(model, importance):
    from safetensors.torch import save_file

    flat = {name: torch.ones(p.shape) for name, p in model.encoder_parameters().items()}
    save_file(flat, importance.folder / "task.safetensors")
    found = chosen(model, {"mask": 0.01}, importance)
    assert list(found.partial) == ["bert.embeddings.word_embeddings.weight"]
    assert found.partial["bert.embeddings.word_embeddings.weight"].flatten()[: round(0.01 * size(model))].all()


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ({"layers": [7]}, r"parameters\.layers.*no layer 7.*0 to 1.*Nearest: `1`"),
        ({"layers": ["poler"]}, "no layer `poler`.*Nearest: `pooler`"),
        ({"layers": ["encodr.layr.1.*"]}, r"matches no tensor.*Nearest: `bert\.encoder\.layer\.1\."),
        ({"layers": ["*"]}, "matches every tensor.*Nearest"),
        ({"layers": []}, "give either"),
        ({"layers": {"names": [0], "count": 1}}, "give either"),
        ({"layers": {"count": 2}}, "2 of 2 layers leaves none out"),
        ({"layers": {"count": 1}}, "no importance per layer"),
        ({"heads": ["0.9"]}, r"no head `0\.9`.*0\.0 to 1\.3.*Nearest"),
        ({"heads": [0.1]}, r"quoted"),
        ({"heads": 8}, "8 of 8 heads leaves none out"),
        ({"heads": 0}, "greater than or equal to 1"),
        ({"mask": 0.01}, "nothing was assessed"),
        ({"lora": {"targets": ["qery"]}}, r"no linear module `qery`.*Nearest.*query"),
        ({"lora": {"layers": [5]}}, "layer 5.*layers among 0, 1"),
        ({"layers": [0, 1, "embeddings", "pooler"]}, r"covers all \d+ weights.*choose `full`"),
        ({"layers": [0, 1], "embeddings": True, "layernorm": True, "heads": ["0.1"]}, None),
        ({"layers": [0, -1, "pooler"], "embeddings": True}, r"covers all \d+ weights"),
    ],
)
def test_nothing_matched_and_everything_matched_are_errors_with_near_misses(model, raw, complaint):
    if complaint is None:
        assert selection.moved(chosen(model, raw), model) < selection.total(model)
        return
    with pytest.raises(BadInput, match=complaint):
        chosen(model, raw)


def test_a_mask_of_less_than_one_weight_is_refused(model, importance):
    with pytest.raises(BadInput, match="not one weight"):
        chosen(model, {"mask": 1e-6}, importance)


def test_an_unknown_architecture_says_what_still_works_and_that_works(network_model):
    from transformers import MobileBertConfig

    config = MobileBertConfig(
        vocab_size=30,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=32,
        embedding_size=32,
        intra_bottleneck_size=32,
        num_feedforward_networks=1,
        normalization_type="layer_norm",
        pad_token_id=0,
    )
    model = network_model(config)
    for raw in ({"layers": [0]}, {"heads": ["0.1"]}, "embeddings"):
        with pytest.raises(BadInput, match=r"`mobilebert` is not in the table.*full, lora, layernorm, mask, layers by"):
            chosen(model, raw)
    with pytest.raises(BadInput, match=r"no default targets.*query"):
        chosen(model, "lora")
    assert selection.moved(chosen(model, "full"), model) == selection.total(model)
    assert selection.moved(chosen(model, {"lora": {"targets": ["query"], "layers": [1], "r": 2}}), model) == 2 * 64
    assert selection.moved(chosen(model, {"layers": ["*.layer.1.*"]}), model) > 0
    assert chosen(model, "layernorm").whole


@pytest.mark.parametrize(("kv", "parts"), [("shared", 3), ("none", 1)])
def test_heads_of_one_shared_weight_are_columns_of_it(network_model, kv, parts):
    """GPT-2: perturbing what a head's mask lets move changes that head's slice alone; all heads cover everything."""
    from transformers import GPT2Config

    size = {"n_embd": 32, "n_layer": 1, "n_head": 4, "n_positions": 16, "vocab_size": 30, "pad_token_id": 0}
    model = network_model(GPT2Config(**size, initializer_range=0.3))
    attention, seen = model.network.transformer.h[0].attn, []
    attention.c_proj.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    ids = torch.arange(5, 12).unsqueeze(0)
    model.network(input_ids=ids)
    found = chosen(model, {"heads": {"names": ["0.2"], "kv": kv}})
    stem = "transformer.h.0.attn."
    assert {name: int(mask.sum()) for name, mask in found.partial.items()} == {
        f"{stem}c_attn.weight": parts * 8 * 32, f"{stem}c_attn.bias": parts * 8, f"{stem}c_proj.weight": 8 * 32,
    }  # fmt: skip
    assert found.partial[f"{stem}c_proj.weight"][16:24].all()
    with torch.no_grad():
        for name in (f"{stem}c_attn.weight", f"{stem}c_attn.bias"):
            model.encoder_parameters()[name][found.partial[name]] += 0.5
    model.network(input_ids=ids)
    changed = (seen[0] != seen[1]).any(0).any(0)
    assert changed.nonzero().flatten().tolist() == list(range(16, 24))
    every = chosen(model, {"heads": {"names": [f"0.{head}" for head in range(4)]}})
    assert every.whole == {f"{stem}c_attn.weight", f"{stem}c_attn.bias", f"{stem}c_proj.weight"}
