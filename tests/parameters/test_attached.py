"""A selection on a model: what is outside it stays bit-identical, whatever the optimiser does."""

import pytest
import torch

from holdfast import choices, selection
from holdfast.errors import BadInput
from holdfast.selection import Selection


def chosen(model, raw, importance=None) -> Selection:
    return selection._united(model, importance, choices.parse("parameters", raw, "parameters"))


def copies(model):
    return {name: p.detach().clone() for name, p in model.network.named_parameters()}


def outside(model, found, before):
    """How many encoder weights outside the selection changed, and how many inside did."""
    leaked = moved = 0
    for name, parameter in model.encoder_parameters().items():
        changed = parameter.detach() != before[name]
        inside = torch.full_like(changed, name in found.whole) | found.partial.get(name, torch.zeros_like(changed))
        leaked += int((changed & ~inside).sum())
        moved += int((changed & inside).sum())
    return leaked, moved


@pytest.mark.parametrize("raw", [{"heads": ["0.1", "1.2"], "layernorm": True}, {"mask": 0.02}, {"layers": [1]}])
def test_nothing_leaks_in_five_steps_with_weight_decay_on_elsewhere(model, importance, train, raw):
    found, before = chosen(model, raw, importance), copies(model)
    selection.attach(model, found)
    train(model, selection.masked_names(found))
    leaked, moved = outside(model, found, before)
    assert leaked == 0 and moved > 0.5 * selection.moved(found, model)
    assert not torch.equal(model.network.classifier.weight, before["classifier.weight"])


def test_decay_on_masked_tensors_would_leak(model, train):
    """The trap that `masked_names` is for, seen: the check above does notice a leak."""
    found, before = chosen(model, {"heads": ["0.1"]}), copies(model)
    selection.attach(model, found)
    train(model, selection.masked_names(found), decay_on_masked=0.1)
    assert outside(model, found, before)[0] > 1000


def test_without_its_hooks_a_mask_leaks(model, train):
    found, before = chosen(model, {"heads": ["0.1"]}), copies(model)
    selection.attach(model, found)
    selection.detach(model)
    train(model, selection.masked_names(found))
    assert outside(model, found, before)[0] > 1000


def test_gradients_are_masked_before_they_are_clipped(model):
    found = chosen(model, {"heads": ["0.1"]})
    selection.attach(model, found)
    model.network(input_ids=torch.arange(5, 12).unsqueeze(0), labels=torch.tensor([1])).loss.backward()
    for name, mask in found.partial.items():
        gradient = model.encoder_parameters()[name].grad
        assert (gradient[~mask] == 0).all()
    weight = model.encoder_parameters()["bert.encoder.layer.0.attention.self.value.weight"]
    assert (weight.grad != 0).any()


def test_attaching_again_replaces_what_was_attached(model, train):
    first, second = chosen(model, {"heads": ["0.1"]}), chosen(model, {"heads": ["0.2"]})
    selection.attach(model, first)
    selection.attach(model, first)
    selection.attach(model, second)
    before = copies(model)
    train(model, selection.masked_names(second))
    leaked, moved = outside(model, second, before)
    assert leaked == 0 and moved > 0
    selection.attach(model, chosen(model, "full"))
    assert all(p.requires_grad and not p._backward_hooks for p in model.network.parameters())


def test_lora_trains_its_matrices_and_the_head_only(model, train):
    found = chosen(model, {"lora": {"r": 4, "layers": [-1]}})
    assert selection.moved(found, model) == 2 * 4 * (32 + 32)
    before, total = copies(model), selection.total(model)
    selection.attach(model, found)
    selection.attach(model, found)
    free = {n: p for n, p in model.network.named_parameters() if p.requires_grad}
    lora = {n: p for n, p in free.items() if ".lora_" in n}
    assert free.keys() - lora.keys() == {"classifier.weight", "classifier.bias"}
    assert all("bert.encoder.layer.1.attention.self." in n and ("query" in n or "value" in n) for n in lora)
    assert sum(p.numel() for p in lora.values()) == selection.moved(found, model) == 512
    assert selection.total(model) == total
    train(model, selection.masked_names(found))
    after = {n.replace(".base_layer", ""): p for n, p in model.network.named_parameters()}
    assert all(torch.equal(after[n], value) for n, value in before.items() if not n.startswith("classifier"))
    assert all((p != 0).any() for n, p in lora.items() if "lora_B" in n)


def test_lora_starts_from_its_seed_without_touching_the_global_generator(model, tiny_start, home):
    from holdfast import models

    found = chosen(model, "lora")
    torch.manual_seed(11)
    selection.attach(model, found)
    drawn = torch.rand(1)
    other = models.load_with_head(tiny_start, home, "mood", ("negative", "positive"), 7)
    torch.manual_seed(11)
    assert torch.equal(torch.rand(1), drawn)
    selection.attach(other, found)
    a, b = (dict(m.network.named_parameters()) for m in (model, other))
    assert all(torch.equal(a[n], b[n]) for n in a)
    assert sum(".lora_A" in n and bool((p != 0).any()) for n, p in a.items()) == 4


def test_a_selection_survives_the_disk(model, importance, tmp_path):
    found = chosen(model, {"heads": ["0.1"], "layernorm": True, "mask": 0.01}, importance)
    places = [tmp_path / "one", tmp_path / "two"]
    for place in places:
        place.mkdir()
        selection.save(found, place)
    again = selection.load(places[0])
    assert (again.whole, again.parts, again.notes, again.added) == (found.whole, found.parts, found.notes, None)
    assert again.partial.keys() == found.partial.keys()
    assert all(mask.dtype == torch.bool and torch.equal(mask, found.partial[n]) for n, mask in again.partial.items())
    assert sorted(p.name for p in places[0].iterdir()) == ["masks.safetensors", "selection.json"]
    assert all(
        (places[0] / n).read_bytes() == (places[1] / n).read_bytes() for n in ("masks.safetensors", "selection.json")
    )
    lora = chosen(model, {"lora": {"r": 4, "layers": [1]}})
    selection.save(lora, tmp_path)
    assert selection.load(tmp_path) == lora


def test_two_low_rank_selections_cannot_be_united(model):
    lora = chosen(model, "lora")
    with pytest.raises(BadInput, match="twice"):
        selection.union(lora, lora)
