import numpy as np
import pytest
import torch

from holdfast.errors import HoldfastError
from holdfast.importance import fisher, gradients

TEXTS = [
    "the movie was good",
    "a very bad movie",
    "the food was not nice and the service was awful",
    "great",
    "food food food and food",
    "bagus and enak",
    "the service is fine",
    "jelek buruk nasty awful poor bad movie the the the a",
]
TARGETS = [2, 0, 0, 2, 1, 2, 1, 0]
KINDS = ["bert", "roberta", "electra", "distilbert", "llama"]


def own_distribution(i, c, p):
    return p[c]


def dataset_label(i, c, p):
    return 1.0 if c == TARGETS[i] else 0.0


def agree(found, wanted, rtol=1e-5):
    """Every number of every parameter to `rtol`; key biases have no effect (softmax ignores shifts), hence 1e-20."""
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=rtol, atol=1e-20, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize("kind", KINDS)
def test_true_fisher_is_the_per_example_loop_for_every_parameter(kind, make_model, loop):
    model = make_model(kind, torch.float64)
    wanted = loop(model, own_distribution, torch.square)
    agree(fisher.true(model, TEXTS, TARGETS, 64, 0), wanted)
    alive = {name for name, value in wanted.items() if value.abs().max() > 1e-20}
    assert alive >= {name for name in wanted if not name.endswith(("key.bias", "k_lin.bias"))}


@pytest.mark.parametrize("kind", KINDS)
def test_empirical_fisher_is_the_per_example_loop_for_every_parameter(kind, make_model, loop):
    model = make_model(kind, torch.float64)
    agree(fisher.empirical(model, TEXTS, TARGETS, 64, 0), loop(model, dataset_label, torch.square))


def test_in_single_precision_each_tensor_agrees_to_rounding(make_model, loop):
    model = make_model("bert")
    found, wanted = fisher.true(model, TEXTS, TARGETS, 64, 0), loop(model, own_distribution, torch.square)
    for name, value in wanted.items():
        if not name.endswith("key.bias"):
            assert (found[name] - value).norm() <= 1e-5 * value.norm(), name


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_in_bf16_it_is_off_by_about_a_hundredth_of_its_norm(kind, make_model, loop):
    model = make_model(kind)
    found, wanted = fisher.empirical(model, TEXTS, TARGETS, 64, 0, "bf16"), loop(model, dataset_label, torch.square)
    off = sum(float((found[name] - value).norm() ** 2) for name, value in wanted.items()) ** 0.5
    whole = sum(float(value.norm() ** 2) for value in wanted.values()) ** 0.5
    assert 1e-5 * whole < off < 2e-2 * whole  # how products are rounded differs between processors
    assert {value.dtype for value in found.values()} == {torch.float32}


def test_the_square_of_the_batch_mean_is_something_else(make_model, loop):
    model = make_model("bert", torch.float64)
    right = fisher.empirical(model, TEXTS, TARGETS, 64, 0)
    mean = loop(model, dataset_label, lambda g: g)
    with pytest.raises(AssertionError):
        agree({name: value.square() for name, value in mean.items()}, right)
    wrong = torch.cat([value.square().flatten() for value in mean.values()])
    rank = lambda x: np.argsort(np.argsort(x.numpy()))  # noqa: E731
    assert np.corrcoef(rank(wrong), rank(torch.cat([v.flatten() for v in right.values()])))[0, 1] < 0.97
    assert wrong.sum() < 0.8 * sum(value.sum() for value in right.values())


def test_padding_contributes_nothing(make_model):
    model = make_model("bert", torch.float64)
    short, long = TEXTS[3], TEXTS[7]
    together = fisher.true(model, [short, long], [0, 0], 64, 0)
    alone = [fisher.true(model, [text], [0], 64, 0) for text in (short, long)]
    agree(together, {name: (alone[0][name] + alone[1][name]) / 2 for name in together})
    assert together["bert.embeddings.word_embeddings.weight"][model.tokenizer.pad_token_id].abs().max() == 0


def test_directions_factor_the_covariance_of_a_drawn_label():
    p = torch.tensor([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.5, 0.5]], dtype=torch.float64)
    d = fisher.directions(p)
    assert d.shape == (2, 4, 3)
    covariance = torch.diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1)
    torch.testing.assert_close(torch.einsum("kbi,kbj->bij", d, d), covariance)


def test_many_labels_are_drawn_without_bias_and_with_the_seed(make_model, monkeypatch):
    model = make_model("bert", torch.float64, labels=fisher.MANY_LABELS + 4)
    drawn = [fisher.true(model, TEXTS, TARGETS, 64, seed) for seed in range(40)]
    again = fisher.true(model, TEXTS, TARGETS, 64, 3)
    assert all(torch.equal(again[name], drawn[3][name]) for name in again)
    monkeypatch.setattr(fisher, "MANY_LABELS", 100)
    exact = fisher.true(model, TEXTS, TARGETS, 64, 0)
    for name in ("bert.pooler.dense.weight", "bert.encoder.layer.0.output.dense.weight", "classifier.weight"):
        sums = torch.stack([one[name].sum() for one in drawn])
        error = sums.std() / len(sums) ** 0.5
        assert abs(sums.mean() - exact[name].sum()) < 4 * error
        assert sums.std() > 0


def test_the_network_is_left_as_it_was(make_model):
    model = make_model("bert")
    model.network.train()
    model.network.bert.pooler.eval()
    model.network.classifier.weight.requires_grad_(False)
    fisher.true(model, TEXTS, TARGETS, 64, 0)
    assert model.network.training and not model.network.bert.pooler.training
    assert [n for n, p in model.network.named_parameters() if not p.requires_grad] == ["classifier.weight"]
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.network.modules())
    assert all(p.grad is None for p in model.network.parameters())


class Changed(torch.nn.Linear):
    def forward(self, x):
        return torch.nn.functional.linear(x, self.weight, self.bias)


def replaced(model, module):
    layer = model.network.bert.encoder.layer[0].intermediate
    layer.dense = module(layer.dense.in_features, layer.dense.out_features).double()
    return model


def test_a_module_of_unknown_kind_is_differentiated_by_itself(make_model, loop):
    model = replaced(make_model("bert", torch.float64), Changed)
    agree(fisher.true(model, TEXTS, TARGETS, 64, 0), loop(model, own_distribution, torch.square))


def test_a_module_used_twice_adds_up_within_an_example(make_model, loop):
    model = make_model("bert", torch.float64)
    layers = model.network.bert.encoder.layer
    layers[1].output.dense = layers[0].output.dense
    layers[1].attention.output.LayerNorm = layers[0].attention.output.LayerNorm
    agree(fisher.true(model, TEXTS, TARGETS, 64, 0), loop(model, own_distribution, torch.square))


def test_a_module_that_hides_its_examples_is_refused(make_model):
    class Flat(Changed):
        def forward(self, x):
            return super().forward(x).unsqueeze(0)

    model = replaced(make_model("bert", torch.float64), Flat)
    with pytest.raises(HoldfastError, match=r"bert\.encoder\.layer\.0\.intermediate\.dense.*Flat"):
        fisher.true(model, TEXTS, TARGETS, 64, 0)


def test_a_parameter_used_behind_its_modules_back_is_refused(make_model):
    class Sly(torch.nn.Module):
        def __init__(self, inputs, outputs):
            super().__init__()
            self.inner = torch.nn.Linear(inputs, outputs)

        def forward(self, x):
            return torch.nn.functional.linear(x, self.inner.weight, self.inner.bias)

    model = replaced(make_model("bert", torch.float64), Sly)
    with pytest.raises(HoldfastError, match=r"intermediate\.dense\.inner\.weight.*without calling"):
        fisher.true(model, TEXTS, TARGETS, 64, 0)


def test_an_output_changed_in_place_is_refused(make_model):
    model = make_model("bert", torch.float64)
    model.network.bert.encoder.layer[0].intermediate.intermediate_act_fn = torch.nn.ReLU(inplace=True)
    with pytest.raises(HoldfastError, match="changed in place"):
        fisher.true(model, TEXTS, TARGETS, 64, 0)


def test_unused_parameters_have_no_importance(make_model):
    model = make_model("bert", torch.float64)
    model.network.bert.spare = torch.nn.Linear(3, 3).double()
    found = gradients.mean_power(model, TEXTS, fisher.towards(TARGETS), "square", 64)
    assert found["bert.spare.weight"].abs().max() == 0 and found["bert.pooler.dense.weight"].min() > 0


def test_a_parameter_shared_by_two_modules_is_refused(make_model):
    model = make_model("bert", torch.float64)
    attention = model.network.bert.encoder.layer[0].attention.self
    attention.key.weight = attention.query.weight
    with pytest.raises(HoldfastError, match=r"key\.weight` is shared"):
        fisher.true(model, TEXTS, TARGETS, 64, 0)
