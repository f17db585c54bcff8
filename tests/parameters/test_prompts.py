"""Prefixes and prompts give what an attention computed by hand gives, and the decoder's own cache of past tokens."""

import copy

import pytest
import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from holdfast import choices, inference, selection
from holdfast.errors import BadInput
from holdfast.models import Model
from holdfast.parameters import prefix, prompt
from holdfast.tuners import injected

LENGTHS = (6, 3)


def inputs(model):
    encoded = model.tokenizer(["the movie was very good", "bad"], padding=True, return_tensors="pt")
    assert tuple(encoded["attention_mask"].sum(1)) != (encoded["input_ids"].shape[1],) * 2
    return encoded


def attached(model, raw):
    found = selection._united(model, None, choices.parse("parameters", raw, "parameters"))
    selection.attach(model, found)
    model.network.eval()
    return found


def moved(model):
    """Give the added tensors other values than their first."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in model.network.named_parameters():
            if ".holdfast_" in name:
                p.add_(0.5 * torch.randn(p.shape, generator=generator))


def attended(layer, states, mask, first=None):
    """A BERT layer by hand, its heads one by one; `first` are keys and values [heads, length, d] before its own."""
    attention = layer.attention.self
    parts = []
    for head in range(4):
        rows = slice(8 * head, 8 * head + 8)
        q, k, v = (states @ m.weight[rows].T + m.bias[rows] for m in (attention.query, attention.key, attention.value))
        seen = mask
        if first is not None:
            k, v = (
                torch.cat([f[head].expand(len(states), -1, -1), own], 1) for f, own in zip(first, (k, v), strict=True)
            )
            seen = torch.cat([torch.ones(len(mask), first[0].shape[1], dtype=torch.bool), mask], 1)
        scores = (q @ k.transpose(1, 2) / 8**0.5).masked_fill(~seen[:, None], float("-inf"))
        parts.append(scores.softmax(-1) @ v)
    between = layer.attention.output(torch.cat(parts, -1), states)
    return layer.output(layer.intermediate(between), between)


def test_a_prefix_is_seen_by_every_head_as_computed_by_hand(model):
    attached(model, {"prefix": 3})
    moved(model)
    given = inputs(model)
    mask = given["attention_mask"].bool()
    with torch.no_grad():
        states = model.encoder.embeddings(given["input_ids"], given["token_type_ids"])
        for layer in model.encoder.encoder.layer:
            wrapped, layer.attention.self = layer.attention.self, layer.attention.self.base_layer
            kept = (wrapped.holdfast_prefix_key["default"], wrapped.holdfast_prefix_value["default"])
            states = attended(layer, states, mask, kept)
            layer.attention.self = wrapped
        found = model.encoder(**given).last_hidden_state
    torch.testing.assert_close(found[mask], states[mask], rtol=1e-4, atol=1e-5)


def test_a_prompt_stands_before_the_text_in_every_layer_and_is_cut_off(model):
    found = attached(model, {"prompt": 3})
    moved(model)
    given = inputs(model)
    mask = given["attention_mask"].bool()
    first = model.encoder.encoder.layer[0].holdfast_prompt_states["default"]
    with torch.no_grad():
        states = model.encoder.embeddings(given["input_ids"], given["token_type_ids"])
        states = torch.cat([first.expand(2, -1, -1), states], 1)
        wider = torch.cat([torch.ones(2, 3, dtype=torch.bool), mask], 1)
        for layer in model.encoder.encoder.layer:
            states = attended(layer.base_layer, states, wider)
        output = model.encoder(**given)
    torch.testing.assert_close(output.last_hidden_state[mask], states[:, 3:][mask], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output.pooler_output, model.encoder.pooler(states[:, 3:]), rtol=1e-4, atol=1e-5)
    assert selection.moved(found, model) == 3 * 32
    features = inference.features(model, ["good", "the movie was bad"], precision="fp32")
    assert features.shape == (2, 32)


def test_they_begin_as_what_the_model_makes_of_drawn_words(model):
    chosen = prefix.select(model, None, prefix.Options(length=4, draw=3))
    again, other = (prefix.select(model, None, prefix.Options(length=4, draw=draw)) for draw in (3, 4))
    name = "encoder.layer.0.attention.self.holdfast_prefix_value"
    assert torch.equal(chosen.first[name], again.first[name]) and not torch.equal(chosen.first[name], other.first[name])
    states = prompt.select(model, None, prompt.Options(length=4, draw=3)).first[
        "encoder.layer.0.holdfast_prompt_states"
    ]
    value = model.encoder.encoder.layer[0].attention.self.value
    wanted = (states @ value.weight.T + value.bias).view(4, 4, 8).transpose(0, 1)
    torch.testing.assert_close(chosen.first[name], wanted, rtol=1e-4, atol=1e-6)


@pytest.fixture
def decoder():
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=40, num_key_value_heads=2, max_position_embeddings=64, **sizes)
    words = type("Words", (), {"all_special_ids": [0, 1]})()
    return Model(LlamaForCausalLM(config).eval(), words, generates=True)


def test_a_decoders_prefix_is_its_cache_of_past_tokens_with_positions_as_they_were(decoder):
    plain = copy.deepcopy(decoder.network)
    found = attached(decoder, {"prefix": 3})
    assert selection.moved(found, decoder) == 2 * 2 * 3 * 16
    moved(decoder)
    layers = [layer.self_attn for layer in decoder.network.model.layers]
    ids = torch.randint(2, 40, (2, 7), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        cache = DynamicCache(config=plain.config)
        for number, layer in enumerate(layers):
            kept = (layer.holdfast_prefix_key["default"], layer.holdfast_prefix_value["default"])
            cache.update(*(one.expand(2, -1, -1, -1).clone() for one in kept), number)
        places = torch.arange(7).expand(2, -1)
        wanted = plain(input_ids=ids, past_key_values=cache, position_ids=places).logits
        torch.testing.assert_close(decoder.network(input_ids=ids).logits, wanted, rtol=1e-4, atol=1e-5)
        begun = decoder.network(input_ids=ids[:, :4], use_cache=True)
        rest = decoder.network(input_ids=ids[:, 4:], past_key_values=begun.past_key_values).logits
    torch.testing.assert_close(torch.cat([begun.logits, rest], 1), wanted, rtol=1e-4, atol=1e-5)


def test_a_decoders_prompt_is_read_before_the_text_at_position_0_and_is_in_no_cache(decoder):
    plain = copy.deepcopy(decoder.network)
    found = attached(decoder, {"prompt": 3})
    assert selection.moved(found, decoder) == 3 * 32
    moved(decoder)
    first = decoder.network.model.layers[0].holdfast_prompt_states["default"]
    ids = torch.randint(2, 40, (2, 7), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        states = torch.cat([first.expand(2, -1, -1), plain.get_input_embeddings()(ids)], 1)
        places = torch.tensor([0, 0, 0, *range(7)]).expand(2, -1)
        given = {"inputs_embeds": states, "position_ids": places, "attention_mask": torch.ones(2, 10)}
        wanted = plain(**given).logits[:, 3:]
        torch.testing.assert_close(decoder.network(input_ids=ids).logits, wanted, rtol=1e-4, atol=1e-5)
        begun = decoder.network(input_ids=ids[:, :4], use_cache=True)
        assert begun.past_key_values.get_seq_length() == 4
        rest = decoder.network(input_ids=ids[:, 4:], past_key_values=begun.past_key_values).logits
    torch.testing.assert_close(torch.cat([begun.logits, rest], 1), wanted, rtol=1e-4, atol=1e-5)
    decoder.network(input_ids=ids).logits.square().sum().backward()
    assert first.grad.abs().sum() > 0


def test_a_prompt_is_refused_where_an_encoders_layers_are_told_positions(decoder):
    encoder = Model(decoder.network, decoder.tokenizer)
    with pytest.raises(BadInput, match="Choose `prefix`"):
        prompt.select(encoder, None, prompt.Options())


@pytest.mark.parametrize("raw", [{"prefix": 3}, {"prompt": 3}])
def test_what_anchors_hold_on_to_is_the_start_model_without_it(model, raw):
    before = inference.logits(model, ["the movie was bad"], precision="fp32")
    attached(model, raw)
    with injected.absent(model.encoder):
        assert abs(inference.logits(model, ["the movie was bad"], precision="fp32") - before).max() < 1e-6
    assert abs(inference.logits(model, ["the movie was bad"], precision="fp32") - before).max() > 1e-5
