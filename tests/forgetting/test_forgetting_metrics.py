"""Every metric against its definition, computed by hand or by a loop, and CKA against HSIC."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from holdfast.forgetting import cka, metrics

SCORES = np.array([[0.30, 0.25, 0.20], [0.90, 0.40, 0.22], [0.95, 0.80, 0.35], [0.70, 0.85, 0.75]])  # R, three tasks


def test_accuracy_and_flips():
    gold, before, after = np.array([0, 1, 2, 0]), np.array([0, 1, 1, 1]), np.array([0, 0, 2, 1])
    assert metrics.accuracy(gold, before) == 0.5
    assert metrics.flips(before == gold, after == gold) == (1, 1)


def test_macro_f1_is_that_of_sklearn():
    generator = np.random.default_rng(0)
    for labels in (2, 3, 5):
        gold, predicted = generator.integers(0, labels, (2, 40))
        assert metrics.macro_f1(gold, predicted, labels) == pytest.approx(f1_score(gold, predicted, average="macro"))
    gold, predicted = np.array([0, 0, 1]), np.array([0, 2, 1])  # label 3 occurs nowhere and does not count
    assert metrics.macro_f1(gold, predicted, 4) == pytest.approx(f1_score(gold, predicted, average="macro"))


def test_a_prediction_outside_the_labels_is_wrong_for_all():
    assert metrics.macro_f1(np.array([0, 1]), np.array([0, -1]), 2) == pytest.approx((1 + 0) / 2)


def test_nll_is_cross_entropy():
    logits, gold = np.random.default_rng(0).normal(size=(20, 3)) * 5, np.arange(20) % 3
    ours = metrics.nll(metrics.log_softmax(logits)[np.arange(20), gold])
    assert ours == pytest.approx(torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(gold)).item())


def test_log_softmax_survives_large_logits():
    assert metrics.log_softmax(np.array([[1000.0, 0.0]])) == pytest.approx(np.array([[0.0, -1000.0]]))


def test_forward_kl_is_a_sum_over_labels_of_the_start_models_probabilities():
    start, tuned = np.random.default_rng(1).normal(size=(2, 4, 3))
    total = 0.0
    for i in range(4):
        p = [math.exp(x) / sum(map(math.exp, start[i])) for x in start[i]]
        q = [math.exp(x) / sum(map(math.exp, tuned[i])) for x in tuned[i]]
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert metrics.forward_kl(start, tuned) == pytest.approx(total / 4)
    assert metrics.forward_kl(start, tuned) != pytest.approx(metrics.forward_kl(tuned, start))
    assert metrics.forward_kl(start, start) == 0.0


def test_chance_and_retained_accuracy():
    assert metrics.chance({"a": 5, "b": 5}, 2) == 0.5
    assert metrics.chance({"a": 8, "b": 2}, 2) == 0.8
    assert metrics.chance({"a": 1, "b": 1}, 4) == 0.5
    assert metrics.retained(0.9, 0.7, 0.5) == pytest.approx(0.5)
    assert metrics.retained(0.5, 0.7, 0.5) is None


def test_average_accuracy_is_over_all_tasks_after_the_last_stage():
    assert metrics.average_accuracy(SCORES) == pytest.approx((0.70 + 0.85 + 0.75) / 3)


def test_backward_transfer_by_hand():
    """Task j is learned in stage j + 1 (row 0 is before any): (0.70 - 0.90 + 0.85 - 0.80) / 2."""
    assert metrics.backward_transfer(SCORES[:, :2], np.array([1, 2])) == pytest.approx((-0.20 + 0.05) / 2)


def test_forward_transfer_by_hand():
    baseline = np.array([0.2, 0.2])
    expected = ((0.40 - 0.2) + (0.35 - 0.2)) / 2  # R[1, 1] and R[2, 2]: just before tasks 1 and 2 are learned
    assert metrics.forward_transfer(SCORES[:, 1:], np.array([2, 3]), baseline) == pytest.approx(expected)


def test_forgetting_takes_the_best_earlier_score():
    """Task 0 rose to 0.95 before it fell, so forgetting is more than minus backward transfer."""
    old = SCORES[:, :2]
    assert metrics.forgetting(old) == pytest.approx((0.95 - 0.70 + 0.80 - 0.85) / 2)
    assert metrics.forgetting(old) > -metrics.backward_transfer(old, np.array([1, 2]))


def hsic(k, m):
    """tr(K H M H) / (n - 1)^2 with the centring matrix H."""
    n = len(k)
    h = np.eye(n) - np.ones((n, n)) / n
    return np.trace(k @ h @ m @ h) / (n - 1) ** 2


def test_linear_cka_is_normalised_hsic():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(30, 6)) + 3
    y = (x[:, :4] ** 2 + generator.normal(size=(30, 4))).astype(np.float32)
    k, m = x @ x.T, y.astype(float) @ y.T.astype(float)
    assert cka.linear_cka(x, y) == pytest.approx(hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m)), rel=1e-9)


def test_linear_cka_ignores_rotation_and_scale_but_not_content():
    generator = np.random.default_rng(1)
    x, other = generator.normal(size=(2, 400, 5))
    rotation, _ = np.linalg.qr(generator.normal(size=(5, 5)))
    assert cka.linear_cka(x, 3 * x @ rotation + 1) == pytest.approx(1.0)
    assert cka.linear_cka(x, other) < 0.05
    assert cka.linear_cka(x, np.ones((400, 5))) is None
