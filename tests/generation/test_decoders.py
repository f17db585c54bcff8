"""Decoders load by the registry's digests, whole or not at all; padding and batching change no answer."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from holdfast import bases
from holdfast.errors import BadInput, Corrupt
from holdfast.generation import decoders, encoding, greedy
from holdfast.records import Start

from .conftest import SHAPES, TEMPLATE

PROMPTS = ["12 + 7", "a", "the man and the ant ran to the other end", "3 - 1 = ?", "copy: zq", "the then"]
SETTINGS = greedy.Settings(max_new_tokens=12, batch=4, precision="fp32")


def naive(model, prompt: str, most: int) -> list[int]:
    """The whole sequence through the network anew for every token: no cache, no padding, no batch."""
    encoder = encoding.Encoder(model.tokenizer)
    ids, said = encoder.prompt(prompt), []
    while len(said) < most and (not said or said[-1] not in encoder.stops):
        with torch.inference_mode():
            said.append(int(model.network(input_ids=torch.tensor([ids + said])).logits[0, -1].argmax()))
    return said


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("template", [None, TEMPLATE])
def test_batched_greedy_is_one_by_one_greedy(model, shape, template):
    loaded = model(shape, template)
    found = greedy.answers(loaded, PROMPTS, SETTINGS)
    for prompt, answer in zip(PROMPTS, found, strict=True):
        wanted = naive(loaded, prompt, 12)
        assert answer.text == loaded.tokenizer.decode(wanted, skip_special_tokens=True)
        assert answer.tokens == len(wanted)
        assert answer.finished == (wanted[-1] in encoding.Encoder(loaded.tokenizer).stops)


def bias(loaded, token: int, by: float) -> None:
    """Make a token likelier or less likely everywhere."""
    head = loaded.network.get_output_embeddings()
    added = torch.zeros(head.weight.shape[0])
    added[token] = by
    head.bias = torch.nn.Parameter(added)


def test_answers_stop_at_the_end_of_the_turn_at_different_times(model):
    loaded = model("llama", TEMPLATE)
    stop = encoding.Encoder(loaded.tokenizer).end
    assert loaded.tokenizer.decode([stop]) == "<stop>"
    bias(loaded, stop, 7.0)
    prompts = [f"{i} + {i * 7}" for i in range(24)]
    found = greedy.answers(loaded, prompts, SETTINGS)
    wanted = [naive(loaded, prompt, 12) for prompt in prompts]
    assert len({answer.tokens for answer in found}) > 3
    assert [answer.tokens for answer in found] == [len(ids) for ids in wanted]
    assert [answer.finished for answer in found] == [stop in ids for ids in wanted]
    assert not any("<stop>" in answer.text for answer in found)


@pytest.mark.parametrize("shape", SHAPES)
def test_padding_on_either_side_changes_no_logit(model, shape):
    loaded = model(shape)
    rows = [[5, 9, 30, 40], [7], [20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35]]
    with torch.inference_mode():
        for side in ("left", "right"):
            inputs = encoding.inputs(rows, side)
            logits = loaded.network(**inputs).logits
            for i, ids in enumerate(rows):
                alone = loaded.network(input_ids=torch.tensor([ids])).logits[0]
                assert torch.allclose(logits[i][inputs["attention_mask"][i].bool()], alone, atol=2e-5)


def test_a_decoder_that_lacks_a_weight_is_refused(folder, tmp_path):
    def damaged(change) -> None:
        for file in folder("qwen2").iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        tensors = load_file(tmp_path / "model.safetensors")
        change(tensors)
        save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
        decoders.network(tmp_path)

    with pytest.raises(Corrupt, match=r"missing keys.*`lm_head\.weight`"):
        damaged(lambda tensors: tensors.pop("lm_head.weight"))
    with pytest.raises(Corrupt, match=r"missing keys.*layers\.1\.self_attn\.q_proj"):
        damaged(lambda tensors: tensors.pop("model.layers.1.self_attn.q_proj.weight"))
    with pytest.raises(Corrupt, match=r"unexpected keys.*strange"):
        damaged(lambda tensors: tensors.update(strange=torch.zeros(2)))
    with pytest.raises(Corrupt, match=r"mismatched keys.*model\.norm"):
        damaged(lambda tensors: tensors.update({"model.norm.weight": torch.zeros(3)}))


def test_changed_weights_are_refused(start, home):
    known = start("gpt2")
    other = known.base.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(Corrupt, match="have sha256"):
        decoders.load(Start(model=known.model, base=other), home)


def test_an_encoder_is_no_decoder(tmp_path):
    from transformers import T5Config, T5ForConditionalGeneration

    size = {"vocab_size": 20, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
    T5ForConditionalGeneration(T5Config(**size)).save_pretrained(tmp_path)
    with pytest.raises(BadInput, match="is not a decoder"):
        decoders.network(tmp_path)


def test_scaled_logits_are_refused(tmp_path):
    from transformers import CohereConfig, CohereForCausalLM

    size = {"vocab_size": 20, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    config = CohereConfig(**size, num_attention_heads=2, num_key_value_heads=2, logit_scale=0.25)
    CohereForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(BadInput, match="changes its logits"):
        decoders.network(tmp_path)


def test_a_prompt_that_leaves_no_room_is_refused(model):
    with pytest.raises(BadInput, match=r"row 2: the prompt has 121 tokens.*at most 128 together"):
        greedy.answers(model(), ["a", "b" * 120], SETTINGS)


def test_kept_answers_are_found_again_and_nothing_else_is(start, model, home, monkeypatch):
    loaded, calls = model(), []
    real = greedy._tokens
    monkeypatch.setattr(greedy, "_tokens", lambda *given: calls.append(1) or real(*given))
    first = greedy.kept(start(), loaded, PROMPTS, SETTINGS, home)
    assert greedy.kept(start(), loaded, PROMPTS, SETTINGS, home) == first == greedy.answers(loaded, PROMPTS, SETTINGS)
    assert len(calls) == 2
    greedy.kept(start(), loaded, PROMPTS[:3], SETTINGS, home)
    greedy.kept(start(), loaded, PROMPTS, greedy.Settings(max_new_tokens=5, precision="fp32"), home)
    greedy.kept(start("qwen2"), model("qwen2"), PROMPTS, SETTINGS, home)
    loaded.tokenizer.chat_template = TEMPLATE
    greedy.kept(start(), loaded, PROMPTS, SETTINGS, home)
    assert len(calls) == 6


@pytest.mark.real
def test_stories260k_says_what_it_is_known_to_say(stories, home):
    known = Start(model=str(stories), base=bases.resolve(str(stories)))
    loaded = decoders.load(known, home)
    ids = loaded.tokenizer("Once upon a time")["input_ids"]
    assert ids[0] == 1 and loaded.tokenizer.decode(ids, skip_special_tokens=True) == "Once upon a time"
    said = greedy._tokens(loaded, [[1], ids], (2,), greedy.Settings(max_new_tokens=60, precision="fp32"))
    wanted = (
        "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
        "One day, she saw a big, red ball."
    )
    assert loaded.tokenizer.decode(said[0]).startswith(wanted)
    assert loaded.tokenizer.decode([*ids, *said[1]], skip_special_tokens=True).startswith(wanted)
