"""Models in memory: heads that are exchanged, and logits that depend on neither padding nor order."""

import numpy as np
import pytest
import torch

from holdfast import inference, models
from holdfast.errors import BadInput
from holdfast.records import HeadInfo

TEXTS = [
    "the movie was good",
    "a",
    "a very nasty service and a very awful food was not nice",
    "bagus enak",
    "poor movie",
]


@pytest.fixture
def model(tiny_start, home):
    model = models.load(tiny_start, home)
    model.add_head("mood", ("good", "bad"), 1)
    model.add_head("topic", ("movie", "food", "service"), 2)
    return model


def test_a_head_in_place_is_its_very_parameters(model):
    for name, labels in (("mood", 2), ("topic", 3), ("mood", 2)):
        model.use_head(name)
        for full_name, parameter in model.heads[name].parameters.items():
            assert model.network.get_parameter(full_name) is parameter
        assert set(model.head_parameters()) == {"classifier.weight", "classifier.bias"}
        assert model.network.config.num_labels == model.network.num_labels == labels == len(model.labels)
        assert model.network.classifier.out_features == labels
        assert model.network.config.id2label == dict(enumerate(model.labels))


def test_training_one_head_moves_it_and_not_the_other(model):
    kept = {name: p.detach().clone() for name, p in model.heads["topic"].parameters.items()}
    model.use_head("mood")
    optimizer = torch.optim.SGD(model.head_parameters().values(), 0.1)
    ids = torch.tensor([[2, 5, 3]])
    before = model.heads["mood"].parameters["classifier.weight"].detach().clone()
    loss = model.network(input_ids=ids, labels=torch.tensor([1])).loss
    loss.backward()
    optimizer.step()
    assert not torch.equal(before, model.heads["mood"].parameters["classifier.weight"])
    model.use_head("topic")
    assert all(torch.equal(kept[name], p) for name, p in model.head_parameters().items())
    assert model.network(input_ids=ids, labels=torch.tensor([2])).loss.isfinite()


def test_the_encoder_and_the_head_share_out_all_parameters(model):
    names = [name for name, _ in model.network.named_parameters()]
    assert sorted(names) == sorted([*model.encoder_parameters(), *model.head_parameters()])
    bare = dict(model.encoder.named_parameters())
    for name, parameter in model.encoder_parameters().items():
        assert bare[name.removeprefix(model.encoder_prefix)] is parameter


def test_new_heads_are_drawn_from_the_seed_alone(tiny_start, home):
    heads = []
    for noise, seed in ((1, 7), (2, 7), (3, 8)):
        torch.manual_seed(noise)
        model = models.load_with_head(tiny_start, home, "mood", ("a", "b", "c"), seed)
        heads.append(model.head_parameters()["classifier.weight"])
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])
    assert float(heads[0].detach().std()) == pytest.approx(0.02, rel=0.3)
    assert not model.head_parameters()["classifier.bias"].any()


def test_a_model_that_knows_no_such_head_says_which_it_has(model):
    with pytest.raises(BadInput, match="mood, topic"):
        model.use_head("mod")


def test_a_head_is_reused_when_its_labels_match_in_any_order_and_refused_otherwise(tune, tiny_start, every_kind, home):
    version = tune(tiny_start, every_kind)
    again = models.load_with_head(version.start, home, "mood", ("c", "a", "b"), 9)
    assert again.labels == ("a", "b", "c")
    held = version.model.heads["mood"].parameters["classifier.weight"]
    assert torch.equal(again.head_parameters()["classifier.weight"], held)
    with pytest.raises(BadInput, match=r"learn\.head"):
        models.load_with_head(version.start, home, "mood", ("a", "b"), 9)
    other = models.load_with_head(version.start, home, "other", ("p", "q"), 9)
    assert set(other.heads) == {"mood", "other"} and other.labels == ("p", "q")
    assert version.start.heads == {"mood": HeadInfo(labels=("a", "b", "c"))}


def one_by_one(model, max_length=128):
    rows = []
    for text in TEXTS:
        inputs = model.tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt")
        with torch.no_grad():
            rows.append(model.network.eval()(**inputs).logits[0].numpy())
    return np.stack(rows)


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_logits_are_those_of_one_text_at_a_time_in_the_order_of_the_input(model, batch):
    found = inference.logits(model, TEXTS, batch=batch, precision="fp32")
    assert found.dtype == np.float32 and found.shape == (5, 3)
    assert np.abs(found - one_by_one(model)).max() < 1e-5
    back = inference.logits(model, TEXTS[::-1], batch=batch, precision="fp32")
    assert np.abs(back[::-1] - found).max() < 1e-5


def test_long_texts_are_truncated_and_the_head_in_place_is_used(model):
    model.use_head("mood")
    short = inference.logits(model, TEXTS, max_length=8, precision="fp32")
    assert np.abs(short - one_by_one(model, max_length=8)).max() < 1e-5
    assert np.abs(short[2] - inference.logits(model, TEXTS, precision="fp32")[2]).max() > 1e-6
    assert short.shape == (5, 2)


def test_features_are_the_mean_over_real_tokens(model):
    found = inference.features(model, TEXTS, precision="fp32")
    for row, text in zip(found, TEXTS, strict=True):
        with torch.no_grad():
            states = model.encoder(**model.tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        assert np.abs(row - states.mean(0).numpy()).max() < 1e-5


def test_no_texts_give_no_rows(model):
    assert inference.logits(model, []).shape == (0, 3)
    assert inference.features(model, []).shape == (0, 32)


def test_every_module_keeps_its_mode_and_progress_is_told(model):
    counted = []
    model.network.train()
    model.encoder.embeddings.eval()
    modes = [module.training for module in model.network.modules()]
    inference.logits(model, TEXTS, batch=2, progress=counted.append)
    assert counted == [2, 2, 1]
    assert [module.training for module in model.network.modules()] == modes and len(set(modes)) == 2


def test_the_mode_is_restored_when_inference_fails(model):
    model.network.train()

    def stop(count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        inference.logits(model, TEXTS, progress=stop)
    assert model.network.training


def test_batches_group_by_length_and_miss_nothing():
    lengths = [3, 9, 1, 9, 5, 2, 7]
    batches = list(inference.batches_by_length(lengths, 3))
    assert [len(b) for b in batches] == [3, 3, 1]
    assert sorted(i for b in batches for i in b) == list(range(7))
    assert [lengths[i] for b in batches for i in b] == sorted(lengths, reverse=True)
