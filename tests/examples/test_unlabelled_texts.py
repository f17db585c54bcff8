"""Losses on texts without labels, against loops, a closed form, and what transformers computes by itself."""

import math

import numpy as np
import pytest
import torch

from holdfast import inference, models, selection
from holdfast.anchors._origin import Origin
from holdfast.errors import BadInput
from holdfast.examples import _masked, domain_text, pseudo_labels
from holdfast.home import Home
from holdfast.parameters import prefix
from holdfast.records import Start
from holdfast.selection import Selection
from holdfast.training.forward import Forward
from holdfast.training.pool import Pool

TEXTS = ("the movie was good", "a very bad food and the service", "nice service", "the food is not great", "bad")


@pytest.fixture
def model(home: Home, tiny_start: Start) -> models.Model:
    model = models.load(tiny_start, home)
    model.add_head("mood", ("a", "b"), seed=1)
    for parameter in model.head_parameters().values():
        parameter.data.mul_(60)
    selection.attach(model, Selection(whole=frozenset(model.encoder_parameters())))
    return model


def origin(model: models.Model, texts: tuple[str, ...] = TEXTS) -> Origin:
    given = {"unlabelled": texts, "max_length": 16, "precision": "fp32"}
    return Origin(model, Pool((), ()), (), 3, dict, lambda head, rows: torch.zeros(0), **given)


def at(model: models.Model, step: int) -> Forward:
    return Forward(model, Pool((), ()), {}, [], step=step, precision="fp32", load=lambda rows: {})


# An encoder's masked tokens


def test_hidden_tokens_are_chosen_by_berts_rule(model: models.Model) -> None:
    ids = torch.tensor([[2, *range(5, 27), 3] for _ in range(200)])
    candidates, source = torch.arange(5, 27), np.random.default_rng(0)
    shown, labels = _masked.hide(ids, model.tokenizer, candidates, 0.15, source)
    chosen = labels != _masked.IGNORED
    assert chosen.sum(1).tolist() == [3] * 200 and not chosen[:, 0].any() and not chosen[:, -1].any()
    assert torch.equal(labels[chosen], ids[chosen]) and torch.equal(shown[~chosen], ids[~chosen])
    masked = (shown[chosen] == model.tokenizer.mask_token_id).float().mean().item()
    stayed = (shown[chosen] == ids[chosen]).float().mean().item()
    assert masked == pytest.approx(0.8, abs=0.05) and stayed == pytest.approx(0.1 + 0.1 / 22, abs=0.04)
    one, _ = _masked.hide(torch.tensor([[2, 7, 3]]), model.tokenizer, candidates, 0.15, source)
    assert one.shape == (1, 3), "even of a single word one is chosen"


def test_the_fitted_layer_is_the_minimum_of_its_convex_problem() -> None:
    torch.manual_seed(0)
    states, embeddings, targets = torch.randn(60, 4), torch.randn(5, 3), torch.randint(5, (60,))
    found = _masked.fit(states, targets, embeddings)
    transform, shift = (found[name].double().requires_grad_() for name in ("transform", "shift"))
    loss = 0.5e-3 * (transform * transform).sum()
    for state, target in zip(states.double(), targets, strict=True):
        scores = torch.stack([vector @ (transform @ state + shift) for vector in embeddings.double()])
        loss = loss - (scores[target] - scores.exp().sum().log()) / len(states)
    loss.backward()
    assert transform.grad.abs().max() < 2e-3 and shift.grad.abs().max() < 2e-3
    assert loss.item() < math.log(5)


def test_the_masked_loss_is_the_mean_over_hidden_tokens(model: models.Model) -> None:
    made = domain_text.auxiliary(origin(model), domain_text.Options(weight=0.3, batch=3, masked=0.4))
    model.network.eval()
    value = made(at(model, 5))
    drawn = [int(i) for i in np.random.default_rng((3, 5, 2)).choice(5, 3, replace=False)]
    inputs = model.tokenizer.pad([made.encoded[i] for i in drawn], return_tensors="pt")
    source = np.random.default_rng((3, 5, 3))
    shown, labels = _masked.hide(inputs["input_ids"], model.tokenizer, made.candidates, 0.4, source)
    words = model.network.bert.embeddings.word_embeddings.weight
    losses = []
    for row in range(3):
        mask = inputs["attention_mask"][row : row + 1]
        states = model.network.bert(input_ids=shown[row : row + 1], attention_mask=mask).last_hidden_state[0]
        for place, label in enumerate(labels[row].tolist()):
            if label != _masked.IGNORED:
                hidden = made.state["transform"] @ states[place] + made.state["shift"]
                scores = {int(v): words[v] @ hidden for v in made.candidates}
                losses.append(torch.stack(list(scores.values())).logsumexp(0) - scores[label])
    assert value.item() == pytest.approx(0.3 * torch.stack(losses).mean().item(), rel=1e-5)
    value.backward()
    assert model.network.bert.encoder.layer[0].output.dense.weight.grad.abs().sum() > 0


def test_steps_draw_their_own_texts_and_repeat_them(model: models.Model) -> None:
    made = domain_text.auxiliary(origin(model), domain_text.Options(batch=2))
    model.network.eval()
    values = [made(at(model, step)).item() for step in (0, 1, 0)]
    assert values[0] == values[2] != values[1]


def test_texts_without_a_token_are_refused(model: models.Model) -> None:
    with pytest.raises(BadInput, match="no text with a token to predict"):
        _masked.Masked(origin(model, ("", " ")), 0.1, 2, 0.15)


def test_the_rows_to_be_learned_are_drawn_as_they_are() -> None:
    tasks = ["", "old", "", "old"]
    assert domain_text.draw(tasks, 0, 1, domain_text.Options()) == [0, 2]
    assert pseudo_labels.draw(tasks, 3, 1, pseudo_labels.Options()) == [0, 2]


# The model's own confident labels


def test_the_start_models_labels_are_taken_without_what_was_added_for_the_tuning(home: Home, tiny_start: Start) -> None:
    """A prefix changes the model before anything has moved."""
    begun, tuned = (models.load(tiny_start, home) for _ in range(2))
    for model in (begun, tuned):
        model.add_head("mood", ("a", "b"), seed=1)
        for parameter in model.head_parameters().values():
            parameter.data.mul_(60)
    selection.attach(tuned, prefix.select(tuned, None, prefix.Options(length=4)))
    wanted = logits_of(begun, list(TEXTS)).softmax(-1).max(-1)
    changed = logits_of(tuned, list(TEXTS)).softmax(-1).max(-1)
    assert (changed.values - wanted.values).abs().max() > 1e-4
    made = pseudo_labels.auxiliary(origin(tuned), pseudo_labels.Options())
    assert torch.equal(made.state["label"], wanted.indices)
    torch.testing.assert_close(made.state["probability"], wanted.values)


def logits_of(model: models.Model, texts: list[str]) -> torch.Tensor:
    return torch.stack([torch.from_numpy(inference.logits(model, [one], precision="fp32")[0]) for one in texts])


def test_only_confident_labels_count_and_all_texts_in_the_mean(model: models.Model) -> None:
    sure = logits_of(model, list(TEXTS)).softmax(-1).max(-1).values
    threshold = float(sure.sort().values[2])
    made = pseudo_labels.auxiliary(origin(model), pseudo_labels.Options(threshold=threshold, weight=2.0, batch=5))
    before = logits_of(model, list(TEXTS)).argmax(-1)
    with torch.no_grad():
        model.network.classifier.weight.mul_(-1)
    model.network.eval()
    logits = logits_of(model, list(TEXTS))
    wanted = [-logits[i].log_softmax(-1)[before[i]] for i in range(5) if sure[i] >= threshold - 1e-6]
    assert len(wanted) == 3
    assert made(at(model, 0)).item() == pytest.approx(2.0 * sum(w.item() for w in wanted) / 5, rel=1e-4)
    assert set(made.state) == {"label", "probability", "step"} and not made.running


def test_labels_are_refreshed_every_so_many_updates(model: models.Model) -> None:
    made = pseudo_labels.auxiliary(origin(model), pseudo_labels.Options(threshold=0.5, refresh=3))
    assert not made.state and int(made.running["step"]) == 0
    first = made.running["label"].tolist()
    with torch.no_grad():
        model.network.classifier.weight.mul_(-1)
        model.network.classifier.bias.mul_(-1)
    for step, wanted in (
        (0, first),
        (2, first),
        (3, [1 - label for label in first]),
        (4, [1 - label for label in first]),
    ):
        made(at(model, step))
        assert made.running["label"].tolist() == wanted, step
    assert int(made.running["step"]) == 3


def test_nothing_believed_is_nothing_learned(model: models.Model) -> None:
    made = pseudo_labels.auxiliary(origin(model), pseudo_labels.Options(threshold=1 - 1e-9))
    made.state["probability"].fill_(0.4)
    assert made(at(model, 1)).item() == 0.0
