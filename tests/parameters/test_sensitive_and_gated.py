"""SPT's split of a budget by hand; the gates of diff pruning against sampling; what it keeps is worth keeping."""

import math

import numpy as np
import pytest
import torch

from holdfast import choices, models, rows, selection, spec
from holdfast.errors import BadInput
from holdfast.importance.read import Importance
from holdfast.parameters import _gates, diff_pruning, spt
from holdfast.records import Artifact, Validated
from holdfast.training import job, tune
from holdfast.tuners import injected

WEIGHT = "bert.encoder.layer.1.attention.self.query.weight"


def written(model, tmp_path, chosen):
    """Importances that are 1 where `chosen` says and nearly 0 elsewhere."""
    from safetensors.torch import save_file

    values = {n: torch.full(p.shape, 1e-9) for n, p in model.encoder_parameters().items()}
    for name, count in chosen.items():
        values[name].view(-1)[:count] = 1.0
    save_file(values, tmp_path / "task.safetensors")
    levels = {"tensor": {}, "head": {}, "layer": {}}
    return Importance("fisher", 16, levels, None, tmp_path)


def test_a_matrix_with_many_sensitive_weights_gets_lora_and_others_masks(model, tmp_path):
    value, bias = WEIGHT.replace("query", "value"), WEIGHT.replace("query.weight", "query.bias")
    importance = written(model, tmp_path, {WEIGHT: 2 * 64, value: 2 * 64 - 1, bias: 5})
    share = (4 * 64 + 4) / selection.total(model)
    found = spt.select(model, importance, spt.Options(share=share, r=2))
    assert found.added["target_modules"] == ["encoder.layer.1.attention.self.query"]
    assert {name: int(mask.sum()) for name, mask in found.partial.items()} == {value: 127, bias: 5}
    assert selection.moved(found, model) == 2 * 64 + 127 + 5
    few = spt.select(model, importance, spt.Options(share=share, r=3))
    assert few.added is None and selection.moved(few, model) == 260


def test_both_kinds_of_weights_train_and_come_back_as_new_values(model, tmp_path, tiny_start, home, train):
    from holdfast import adapters

    bias = WEIGHT.replace("query.weight", "query.bias")
    importance = written(model, tmp_path, {WEIGHT: 128, bias: 5})
    found = spt.select(model, importance, spt.Options(share=133 / selection.total(model), r=2))
    selection.attach(model, found)
    before = {n: p.detach().clone() for n, p in injected.merged_weights(model.encoder).items()}
    free = {n for n, p in model.network.named_parameters() if p.requires_grad}
    undecayed = {n for n in free if not selection.decays(found, n)}
    assert {n for n in undecayed if "bias" in n} == {bias.replace(".bias", ".base_layer.bias")}
    train(model, frozenset(undecayed))
    model.network.eval()
    after = injected.merged_weights(model.encoder)
    moved = {n for n in after if not torch.equal(before[n], after[n])}
    assert moved == {name.removeprefix("bert.") for name in (WEIGHT, bias)}
    adapters.write(model, found, tiny_start, home, tmp_path / "adapter")
    start = tiny_start.model_copy(update={"adapter": home.store.put(tmp_path / "adapter", "adapter")})
    again = adapters.bare(models.load(start, home))
    assert all(torch.equal(again[name], after[name]) for name in after)


def test_gates_are_open_as_often_as_their_probability_says():
    uniform = torch.rand(200_000, generator=torch.Generator().manual_seed(0)).clamp(1e-6, 1 - 1e-6)
    for a in (-2.0, 0.0, 1.5):
        z = _gates.gate(torch.tensor(a), uniform)
        s = 1 / (1 + np.exp(-(np.log(uniform) - np.log(1 - uniform) + a)))
        np.testing.assert_allclose(z.numpy(), np.clip(3 * s - 1.5, 0, 1), atol=1e-5)
        probability = float(_gates.open_probability(torch.tensor(a)))
        assert probability == pytest.approx(1 / (1 + math.exp(-a)))
        assert float((z > 0).float().mean()) == pytest.approx(probability, abs=5e-3)


@pytest.fixture
def given(home, tiny_start, toy_rows):
    nothing = Artifact(kind="validation", digest="0")
    fields = {"quarantined": 0, "expectations": (), "competences": (), "artifact": nothing}
    datasets = {"learn.train": rows.version(home, toy_rows)}
    validated = Validated(datasets=datasets, labels=("negative", "positive"), **fields)
    training = spec.Training(learning_rate=2e-3, batch=8, max_length=16, precision="fp32")
    recipe = spec.Recipe(examples={"gold": {}}, objective={}, anchors={}, schedule={}, training=training, head="mood")
    return job.Given(None, None, validated, tiny_start, recipe, (), home)


def test_the_largest_gated_changes_are_kept_and_the_penalty_closes_gates(model, given):
    options = diff_pruning.Options(share=0.02, epochs=1.5)
    found, again = (diff_pruning.learn(given, model, None, options) for _ in range(2))
    assert all(torch.equal(found.partial[n], again.partial[n]) for n in found.partial)
    assert selection.moved(found, model) == round(0.02 * selection.total(model))
    loose, tight = (_gates.learn(given, 1.5, penalty, 1.0).changes for penalty in (0.0, 1e4))
    assert sum(int((c != 0).sum()) for c in tight.values()) < 0.2 * sum(int((c != 0).sum()) for c in loose.values())
    words = loose["bert.embeddings.word_embeddings.weight"]
    known = rows.read(given.home, given.validated.datasets["learn.train"])
    used = {number for row in known for number in model.tokenizer(row["text"]).input_ids} | {0}
    unused = sorted(set(range(len(words))) - used)
    assert unused and float(words[unused].abs().max()) < 1e-9 < float(words[sorted(used)].abs().max())


def test_the_tuning_goes_on_from_what_the_gated_one_gave_and_holds_on_to_the_start(model, given):
    chosen = diff_pruning.learn(given, model, None, diff_pruning.Options(share=0.02, epochs=1.5))
    gated = _gates.learn(given, 1.5, 40.0, 0.1)
    with given.home.store.scratch() as scratch:
        selection.save(chosen, scratch)
        chosen = selection.union(selection.Selection(), selection.load(scratch))
    begun = tune.start_model(given)
    selection.attach(begun, chosen)
    old = {name: p.detach().clone() for name, p in begun.network.named_parameters()}
    selection.begin(begun, chosen)
    parameters = dict(begun.network.named_parameters())
    for name, found in chosen.partial.items():
        assert torch.equal(parameters[name], torch.where(found, gated.weights[name], old[name]))
    assert set(gated.head) == set(begun.head_parameters())
    assert all(torch.equal(parameters[name], value) for name, value in gated.head.items())
    same = {name for name in old if torch.equal(old[name], parameters[name])}
    assert set(old) - same == {*chosen.partial, *gated.head}


def test_diff_pruning_without_data_says_so(model):
    parsed = choices.parse("parameters", "diff-pruning", "parameters")
    assert selection.learning(parsed) == ["diff-pruning"]
    with pytest.raises(BadInput, match="needs data"):
        diff_pruning.select(model, None, diff_pruning.Options())
