"""Decoders written as adapters, with and without an output layer of their own, and read by plain peft."""

import warnings

import pytest
import torch
from peft import PeftModel
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

import holdfast.tuners.registered  # noqa: F401
from holdfast import adapters, bases, models, selection, student
from holdfast.errors import BadInput
from holdfast.importance.read import Importance
from holdfast.merging import merge as merging
from holdfast.parameters import houlsby, ia3, lora, prefix, prompt, spt
from holdfast.records import Merge, Start
from holdfast.selection import Selection
from holdfast.tuners import injected

IDS = torch.arange(10, 22).unsqueeze(0)


@pytest.fixture(params=[False, True], ids=["own output layer", "tied"])
def begun(request, tmp_path, make_folder) -> Start:
    place = make_folder(tmp_path / "base", "llama", tie_word_embeddings=request.param)
    return Start(model=str(place), base=bases.resolve(str(place)), task="generation")


def moved(start, home, chosen, seed=5):
    """The start model with everything chosen moved by a little."""
    model = models.load(start, home)
    selection.attach(model, chosen)
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.network.named_parameters():
            if parameter.requires_grad:
                shift = 0.1 * torch.randn_like(parameter)
                parameter += shift * chosen.partial[name] if name in chosen.partial else shift
    return model


def choices(model):
    embedding = model.network.get_input_embeddings().weight
    mask = torch.zeros(embedding.shape, dtype=torch.bool)
    mask[3:20, ::2] = True
    return {
        "everything": Selection(whole=frozenset(model.encoder_parameters())),
        "a part of the embeddings": Selection(partial={"model.embed_tokens.weight": mask}),
        "lora": lora.select(model, None, lora.Options(r=2)),
        "dora": lora.select(model, None, lora.Options(kind="dora", r=2, targets=("mlp",))),
        "ia3": ia3.select(model, None, ia3.Options()),
        "houlsby": houlsby.select(model, None, houlsby.Options(size=2)),
        "prefix": prefix.select(model, None, prefix.Options(length=3)),
        "prompt": prompt.select(model, None, prompt.Options(length=3)),
    }


BESIDE = {"houlsby", "prefix", "prompt"}
ADDED = {"lora", "dora", "ia3", *BESIDE}


@pytest.mark.parametrize("which", ["everything", "a part of the embeddings", *sorted(ADDED)])
def test_merged_unmerged_and_in_memory_agree(begun, home, tmp_path, which):
    agree(begun, home, tmp_path, choices(models.load(begun, home))[which], which)


def agree(begun, home, tmp_path, chosen, which):
    """What was tuned, loaded by plain peft, merged, disabled and loaded by us answers as it must."""
    model = moved(begun, home, chosen)
    adapters.write(model, chosen, begun, home, tmp_path / "adapter")
    network = AutoModelForCausalLM.from_pretrained(begun.model).eval()
    with torch.no_grad():
        before, wanted = network(input_ids=IDS).logits, model.network.eval()(input_ids=IDS).logits
        tuned = PeftModel.from_pretrained(network, str(tmp_path / "adapter")).eval()
        tolerance = {"rtol": 0, "atol": 2e-5 if which in ADDED else 0}
        torch.testing.assert_close(tuned(input_ids=IDS).logits, wanted, **tolerance)
        with tuned.disable_adapter():
            assert torch.equal(tuned(input_ids=IDS).logits, before)
        if which not in ADDED:  # subtracting what was added is not exact
            tuned.merge_adapter()
            torch.testing.assert_close(tuned(input_ids=IDS).logits, wanted, **tolerance)
            tuned.unmerge_adapter()
            with tuned.disable_adapter():
                assert torch.equal(tuned(input_ids=IDS).logits, before)
        if which not in BESIDE:
            merged = tuned.merge_and_unload()
            torch.testing.assert_close(merged(input_ids=IDS).logits, wanted, **tolerance)
    again = begun.model_copy(update={"adapter": home.store.put(tmp_path / "adapter", "adapter")})
    with torch.no_grad():
        torch.testing.assert_close(models.load(again, home).network(input_ids=IDS).logits, wanted, **tolerance)
    return model


@pytest.mark.parametrize("kinds", [("everything",) * 2, ("a part of the embeddings",) * 2])
def test_two_at_once_add_up_merged_and_unmerged_also_where_weights_are_tied(begun, home, tmp_path, kinds):
    network = AutoModelForCausalLM.from_pretrained(begun.model).eval()
    for number, which in enumerate(kinds):
        chosen = choices(models.load(begun, home))[which]
        adapters.write(moved(begun, home, chosen, seed=number), chosen, begun, home, tmp_path / str(number))
    tuned = PeftModel.from_pretrained(network, str(tmp_path / "0"), adapter_name="0")
    tuned.load_adapter(str(tmp_path / "1"), adapter_name="1")
    with torch.no_grad():
        alone = tuned(input_ids=IDS).logits
        tuned.base_model.set_adapter(["0", "1"])
        wanted = tuned(input_ids=IDS).logits
        assert (wanted - alone).abs().max() > 0.01
        tuned.merge_adapter()
        torch.testing.assert_close(tuned(input_ids=IDS).logits, wanted, rtol=0, atol=1e-4)
        tuned.unmerge_adapter()
        torch.testing.assert_close(tuned(input_ids=IDS).logits, wanted, rtol=0, atol=0)
        merged = tuned.merge_and_unload(adapter_names=["0", "1"])
        torch.testing.assert_close(merged(input_ids=IDS).logits, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["lora", "dora", "pissa"])
def test_nothing_is_added_to_an_output_layer_that_the_embeddings_share(begun, home, kind):
    model, options = models.load(begun, home), lora.Options(kind=kind, r=2, targets=("lm_head",))
    if not model.network.config.tie_word_embeddings:
        assert lora.select(model, None, options).added["target_modules"] == ["lm_head"]
        return
    with pytest.raises(BadInput, match=r"`lm_head` shares its weight with `model\.embed_tokens`") as refused:
        lora.select(model, None, options)
    assert refused.value.key == "parameters.lora.targets"


def test_counts_and_parts_hold_every_weight_once(begun, home):
    model = models.load(begun, home)
    assert selection.total(model) == sum(p.numel() for p in model.network.parameters())
    assert model.head_parameters() == {} and model.encoder is model.network
    assert model.generates


def test_decoders_are_merged_too(begun, home, tmp_path):
    parents = []
    for number, which in enumerate(("everything", "lora")):
        chosen = choices(models.load(begun, home))[which]
        adapters.write(moved(begun, home, chosen), chosen, begun, home, tmp_path / str(number))
        adapter = home.store.put(tmp_path / str(number), "adapter")
        parents.append(begun.model_copy(update={"model": f"models:/v/{number}", "adapter": adapter}))
    wanted = Merge(how="task-arithmetic", weights=(0.5, 1.0), density=None, parents=tuple(parents))
    merging.check(wanted, [begun, begun], home)
    made, _ = merging.merge(wanted, begun, "label", home)
    start, one, two, found = (
        models.load(version, home).encoder_parameters()
        for version in (begun, *parents, begun.model_copy(update={"adapter": made.adapter}))
    )
    for name, value in found.items():
        torch.testing.assert_close(value, start[name] + 0.5 * (one[name] - start[name]) + (two[name] - start[name]))


def test_a_decoders_student_has_the_layers_that_were_taken(begun, home, tmp_path):
    assert student.make(begun, [1], home, tmp_path / "student") == [1]
    folder = str(tmp_path / "student")
    small = models.load_base(Start(model=folder, base=bases.resolve(folder), task="generation"))
    ours, theirs = small.encoder_parameters(), models.load_base(begun).encoder_parameters()
    assert small.network.config.num_hidden_layers == 1
    assert all(torch.equal(p, theirs[name.replace("layers.0.", "layers.1.")]) for name, p in ours.items())
    assert small.network(input_ids=IDS).logits.shape[:2] == IDS.shape


GPT2 = {
    "lora": lambda model: lora.select(model, None, lora.Options(r=2)),
    "lora on everything": lambda model: lora.select(model, None, lora.Options(r=2, targets=("attention", "mlp"))),
    "dora": lambda model: lora.select(model, None, lora.Options(kind="dora", r=2, targets=("mlp",))),
    "pissa": lambda model: lora.select(model, None, lora.Options(kind="pissa", r=2)),
    "ia3": lambda model: ia3.select(model, None, ia3.Options()),
    "houlsby": lambda model: houlsby.select(model, None, houlsby.Options(size=2)),
    "prefix": lambda model: prefix.select(model, None, prefix.Options(length=3)),
    "prompt": lambda model: prompt.select(model, None, prompt.Options(length=3)),
}


@pytest.fixture
def gpt2(tmp_path, make_folder) -> Start:
    """A decoder whose linear maps keep their weights as [in, out]."""
    place = str(make_folder(tmp_path / "gpt2", "gpt2"))
    return Start(model=place, base=bases.resolve(place), task="generation")


@pytest.mark.parametrize("which", list(GPT2))
def test_merged_unmerged_and_in_memory_agree_on_gpt2(gpt2, home, tmp_path, which):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # peft warns where a configuration has the layout wrong
        chosen = GPT2[which](models.load(gpt2, home))
        model = agree(gpt2, home, tmp_path, chosen, which if which in BESIDE else "lora")
    free = sum(p.numel() for n, p in model.network.named_parameters() if p.requires_grad)
    assert free == selection.moved(chosen, model)


def test_loras_numbers_on_gpt2_are_those_of_the_matrix_by_hand(gpt2, home):
    model = models.load(gpt2, home)
    chosen = lora.select(model, None, lora.Options(r=2, layers=(1,)))
    assert chosen.added["target_modules"] == ["transformer.h.1.attn.c_attn"] and chosen.added["fan_in_fan_out"]
    assert selection.moved(chosen, model) == 2 * (32 + 96)
    old = model.network.transformer.h[1].attn.c_attn.weight.detach().clone()
    tuned = moved(gpt2, home, chosen)
    layer = tuned.network.transformer.h[1].attn.c_attn
    up, down = layer.lora_B["default"].weight, layer.lora_A["default"].weight
    new = injected.merged_weights(tuned.encoder)["transformer.h.1.attn.c_attn.weight"]
    torch.testing.assert_close(new, old + 8 * (up @ down).T)


def test_osf_is_refused_on_gpt2(gpt2, home):
    with pytest.raises(BadInput, match="keeps its own as \\[in, out\\]"):
        lora.select(models.load(gpt2, home), None, lora.Options(kind="osf"))


def test_a_matrix_of_gpt2_with_many_sensitive_weights_gets_lora(gpt2, home, tmp_path):
    model = models.load(gpt2, home)
    values = {n: torch.full(p.shape, 1e-9) for n, p in model.encoder_parameters().items()}
    values["transformer.h.0.mlp.c_fc.weight"].view(-1)[:320] = 1.0
    save_file(values, tmp_path / "task.safetensors")
    importance = Importance("fisher", 16, {"tensor": {}, "head": {}, "layer": {}}, None, tmp_path)
    found = spt.select(model, importance, spt.Options(share=320 / selection.total(model), r=2))
    assert found.added["target_modules"] == ["transformer.h.0.mlp.c_fc"] and found.added["fan_in_fan_out"]
    assert selection.moved(found, model) == 2 * (32 + 128)
