import numpy as np
import pytest
import torch

from holdfast import inference
from holdfast.importance import probe

LABELS = ("negative", "positive")


@pytest.fixture
def fresh(make_model):
    return make_model("bert", labels=2)


@pytest.fixture
def rows(toy_rows):
    return toy_rows[::2] + toy_rows[1:20:2]


def pooled(model, rows):
    """What the classifier is given, one text at a time."""
    with torch.no_grad():
        one = [model.network.bert(**model.tokenizer(row["text"], return_tensors="pt")).pooler_output for row in rows]
    return torch.cat(one).double().numpy()


def test_the_probe_is_the_regularised_maximum_likelihood_solution(fresh, rows, monkeypatch):
    from sklearn.linear_model import LogisticRegression

    monkeypatch.setattr(inference, "has_bf16", lambda: False)
    probe.fit(fresh, rows, LABELS, 64, 7)
    x = pooled(fresh, rows)
    assert x.std(0).min() < probe.LEAST_DEVIATION < x.std(0).max()
    x = (x - x.mean(0)) / np.maximum(x.std(0), probe.LEAST_DEVIATION)
    y = [row["label"] for row in rows]
    # sklearn's binary form has one weight vector w; the multinomial one splits it as +w/2 and -w/2 at equal likelihood,
    # which halves the penalty: ||w/2||^2 + ||w/2||^2 = ||w||^2 / 2.
    reference = LogisticRegression(C=2 / probe.STRENGTH, tol=1e-10, max_iter=10_000).fit(x, y)
    with torch.no_grad():
        found = inference.logits(fresh, [row["text"] for row in rows], precision="fp32")
    wanted = reference.decision_function(x)
    np.testing.assert_allclose(found[:, 1] - found[:, 0], wanted, rtol=1e-3, atol=1e-4)


def test_the_probe_is_deterministic_and_moves_only_the_head(fresh, rows, make_model):
    before = {name: value.clone() for name, value in fresh.encoder_parameters().items()}
    probe.fit(fresh, rows, LABELS, 64, 7)
    assert all(torch.equal(before[name], value) for name, value in fresh.encoder_parameters().items())
    other = make_model("bert", labels=2)
    other.add_head("another", LABELS, 8)
    probe.fit(other, rows, LABELS, 64, 7)
    assert all(torch.equal(p, other.head_parameters()[name]) for name, p in fresh.head_parameters().items())


def test_the_probe_separates_what_can_be_separated(fresh, rows, monkeypatch):
    monkeypatch.setattr(probe, "STRENGTH", 1e-3)
    probe.fit(fresh, rows, LABELS, 64, 7)
    found = inference.logits(fresh, [row["text"] for row in rows]).argmax(1)
    assert (found == [LABELS.index(row["label"]) for row in rows]).mean() > 0.9


def test_many_rows_are_sampled_with_the_seed(fresh, rows, monkeypatch):
    monkeypatch.setattr(probe, "MOST_ROWS", 10)
    seen = []
    monkeypatch.setattr(probe, "_inputs", lambda m, last, texts, *rest: seen.append(texts) or torch.eye(10, 32))
    for seed in (1, 1, 2):
        probe.fit(fresh, rows, LABELS, 64, seed)
    assert seen[0] == seen[1] != seen[2] and len(seen[0]) == 10
