"""Our PEFT method inside real PEFT: exact to the bit, there and back, for every kind of tensor."""

import copy
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model
from peft.utils.peft_types import PeftType
from transformers import AutoModel

from holdfast import adapters, delta
from holdfast.selection import Selection

LAYER = "bert.encoder.layer"


def encoder_of(start):
    return AutoModel.from_pretrained(start.base.name).eval()


def hidden(model, inputs):
    with torch.no_grad():
        return model(**inputs).last_hidden_state


def same_weights(one, other):
    names = dict(one.named_parameters())
    return set(names) == {n for n, _ in other.named_parameters()} and all(
        torch.equal(names[n], p) for n, p in other.named_parameters()
    )


@pytest.fixture
def folder(tune, tiny_start, every_kind, home):
    version = tune(tiny_start, every_kind)
    return version, home.store.path(version.start.adapter)


def test_peft_is_the_version_whose_insides_this_method_was_built_on():
    assert importlib.metadata.version("peft") == "0.21.2"


def test_the_enum_has_one_more_member_that_behaves_like_the_others():
    member = PeftType.HOLDFAST_DELTA
    assert member is PeftType("HOLDFAST_DELTA") is PeftType["HOLDFAST_DELTA"] is copy.deepcopy(member)
    assert member == "HOLDFAST_DELTA" and hash(member) == hash("HOLDFAST_DELTA") and member in list(PeftType)
    assert isinstance(member, PeftType) and str(member) == "PeftType.HOLDFAST_DELTA"
    assert PeftType("LORA") is PeftType.LORA and len({t.value for t in PeftType}) == len(PeftType)


@pytest.mark.slow
def test_without_the_import_peft_does_not_know_the_method(folder):
    version, path = folder
    code = (
        "from transformers import AutoModel; from peft import PeftModel\n"
        f"PeftModel.from_pretrained(AutoModel.from_pretrained({version.start.base.name!r}), {str(path)!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode != 0 and "HOLDFAST_DELTA" in done.stderr


def test_reload_disable_and_merge_are_exact(folder, inputs):
    version, path = folder
    tuned, base = hidden(version.model.encoder, inputs), hidden(encoder_of(version.start), inputs)
    assert not torch.equal(tuned, base)
    loaded = PeftModel.from_pretrained(encoder_of(version.start), str(path))
    for _ in range(2):
        assert torch.equal(hidden(loaded, inputs), tuned)
        with loaded.disable_adapter():
            assert torch.equal(hidden(loaded, inputs), base)
    merged = loaded.merge_and_unload()
    assert same_weights(merged, version.model.encoder)
    assert torch.equal(hidden(merged, inputs), tuned)


def test_unmerging_unloading_and_meta_loading_are_exact(folder, inputs):
    version, path = folder
    loaded = PeftModel.from_pretrained(encoder_of(version.start), str(path), low_cpu_mem_usage=True)
    tuned = hidden(version.model.encoder, inputs)
    loaded.merge_adapter()
    assert torch.equal(hidden(loaded, inputs), tuned)
    with loaded.disable_adapter():
        assert torch.equal(hidden(loaded, inputs), hidden(encoder_of(version.start), inputs))
    loaded.merge_adapter()
    loaded.unmerge_adapter()
    assert torch.equal(hidden(loaded, inputs), tuned)
    assert same_weights(loaded.unload(), encoder_of(version.start))


def test_peft_saves_the_bytes_that_it_loaded(folder, tmp_path, inputs):
    version, path = folder
    loaded = PeftModel.from_pretrained(encoder_of(version.start), str(path))
    loaded.save_pretrained(tmp_path)
    assert (tmp_path / adapters.ADAPTER).read_bytes() == (path / adapters.ADAPTER).read_bytes()
    again = PeftModel.from_pretrained(encoder_of(version.start), str(tmp_path))
    assert torch.equal(hidden(again, inputs), hidden(version.model.encoder, inputs))


def test_two_adapters_share_a_base_and_are_switched(folder, tune, tiny_start, home, inputs):
    version, path = folder
    other = tune(
        tiny_start, Selection(whole=frozenset({"bert.embeddings.LayerNorm.weight", "bert.pooler.dense.weight"})), 5
    )
    loaded = PeftModel.from_pretrained(encoder_of(tiny_start), str(path), adapter_name="one")
    loaded.load_adapter(str(home.store.path(other.start.adapter)), adapter_name="two")
    for name, wanted in (("two", other), ("one", version), ("two", other)):
        loaded.set_adapter(name)
        assert torch.equal(hidden(loaded, inputs), hidden(wanted.model.encoder, inputs))
    loaded.delete_adapter("two")
    loaded.set_adapter("one")
    assert torch.equal(hidden(loaded, inputs), hidden(version.model.encoder, inputs))


def test_several_adapters_at_once_add_up_unmerged_and_merged(folder, tune, tiny_start, home, inputs):
    version, path = folder
    other = tune(
        tiny_start, Selection(whole=frozenset({"bert.pooler.dense.weight", f"{LAYER}.0.output.dense.bias"})), 5
    )
    base, one, two = (
        dict(m.named_parameters()) for m in (encoder_of(tiny_start), version.model.encoder, other.model.encoder)
    )
    wanted = encoder_of(tiny_start)
    with torch.no_grad():
        for name, parameter in wanted.named_parameters():
            parameter.copy_(base[name] + (one[name] - base[name]) + (two[name] - base[name]))
    loaded = PeftModel.from_pretrained(encoder_of(tiny_start), str(path), adapter_name="one")
    loaded.load_adapter(str(home.store.path(other.start.adapter)), adapter_name="two")
    loaded.base_model.set_adapter(["one", "two"])
    torch.testing.assert_close(hidden(loaded, inputs), hidden(wanted, inputs), rtol=0, atol=1e-6)
    loaded.base_model.merge_adapter(["one"])
    loaded.base_model.merge_adapter(["two"])
    torch.testing.assert_close(hidden(loaded, inputs), hidden(wanted, inputs), rtol=0, atol=1e-6)
    loaded.base_model.unmerge_adapter()
    assert same_weights(copy.deepcopy(loaded).unload(), encoder_of(tiny_start))
    merged = loaded.merge_and_unload(adapter_names=["one", "two"])
    torch.testing.assert_close(hidden(merged, inputs), hidden(wanted, inputs), rtol=0, atol=1e-6)


def test_an_adapter_that_changes_only_the_head_loads_as_the_base(tune, tiny_start, home, inputs):
    version = tune(tiny_start, Selection())
    loaded = PeftModel.from_pretrained(encoder_of(tiny_start), str(home.store.path(version.start.adapter)))
    assert torch.equal(hidden(loaded, inputs), hidden(encoder_of(tiny_start), inputs))


def test_a_new_adapter_starts_as_the_base_and_its_gradients_are_those_of_the_tensors(tiny_start, inputs):
    config = delta.DeltaConfig(whole=["encoder.layer.1.output.dense.bias"], partial={"pooler.dense.weight": 7})
    model = get_peft_model(encoder_of(tiny_start), config).eval()
    plain = encoder_of(tiny_start)
    assert torch.equal(hidden(model, inputs), hidden(plain, inputs))
    for net in (model, plain):
        net(**inputs).pooler_output.square().sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert len(gradients) == 2
    bias, weight = plain.encoder.layer[1].output.dense.bias.grad, plain.pooler.dense.weight.grad
    whole, values = (next(g for n, g in gradients.items() if key in n) for key in ("delta_whole", "delta_values"))
    torch.testing.assert_close(whole, bias, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(values, weight.flatten()[:7], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"whole": ["encoder.layer.7.output.dense.bias"]}, "no tensor"),
        ({"partial": {"pooler.dense.bias": 33}}, "fewer"),
    ],
)
def test_a_configuration_that_does_not_fit_the_model_is_refused(tiny_start, config, complaint):
    with pytest.raises(ValueError, match=complaint):
        get_peft_model(encoder_of(tiny_start), delta.DeltaConfig(**config))


def test_a_file_that_does_not_hold_what_the_configuration_names_is_refused(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    version, path = folder
    tensors = load_file(path / adapters.ADAPTER)
    tensors.pop("base_model.model.pooler.dense.weight")
    save_file(tensors, tmp_path / adapters.ADAPTER)
    Path(tmp_path / adapters.CONFIG).write_bytes((path / adapters.CONFIG).read_bytes())
    with pytest.raises(ValueError, match="does not hold"):
        PeftModel.from_pretrained(encoder_of(version.start), str(tmp_path))
