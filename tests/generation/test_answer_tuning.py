"""Tuning on answers: the loss is the network's own, in pieces or whole, and frozen models answer as they did."""

import pytest
import torch

from holdfast import models
from holdfast.anchors._answers import Frozen
from holdfast.generation import encoding
from holdfast.records import Start
from holdfast.training import batches, forward, objective, pieces
from tests.generation.conftest import passes

ROWS = [("say it", "is"), ("1 and 2", "make 3"), ("why", "because the answer is longer"), ("a", "b")]


@pytest.fixture
def decoder(start, home):
    begun: Start = start("llama").model_copy(update={"task": "generation"})
    return models.load(begun, home)


@pytest.fixture
def batch(decoder):
    """A function that makes the forward pass of some rows."""
    return passes(decoder, ROWS)


def loss(decoder, made, chosen="sft"):
    moving = {name: p for name, p in decoder.network.named_parameters() if p.requires_grad}
    start = Frozen(moving, {name: p.detach().clone() for name, p in moving.items()})
    decoder.network.zero_grad()
    losses, figures = objective.make({chosen: {}}, moving, lambda: start)(made)
    losses.mean().backward()
    gradients = {name: p.grad.clone() for name, p in moving.items()}
    return losses.detach(), {name: found.detach() for name, found in figures.items()}, gradients


def test_the_loss_is_the_networks_own_and_a_mean_over_tokens(decoder, batch):
    losses, _, _ = loss(decoder, batch([0, 1, 2, 3]))
    inputs = batch([0, 1, 2, 3]).inputs
    labels = inputs["labels"]
    own = decoder.network(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], labels=labels).loss
    assert len(losses) == int((labels != encoding.IGNORED).sum())
    torch.testing.assert_close(losses.mean(), own.detach())


@pytest.mark.parametrize("chosen", ["sft", "target", "psft"])
def test_pieces_give_the_same_loss_and_gradient(decoder, batch, monkeypatch, chosen):
    whole = loss(decoder, batch([0, 1, 2, 3]), chosen)
    monkeypatch.setattr(forward, "NUMBERS", 5 * decoder.network.config.vocab_size)
    made = batch([0, 1, 2, 3])
    assert [len(part) for part in made.parts(made.rows_by_head()[""])][:2] == [5, 5]
    for first, second in zip(whole, loss(decoder, made, chosen), strict=True):
        torch.testing.assert_close(first, second)


@pytest.mark.parametrize("chosen", ["sft", "target", "psft", "gem", "iw-sft", "asft"])
def test_below_a_fixed_output_layer_pieces_go_through_it_once(decoder, batch, monkeypatch, chosen):
    output = decoder.network.get_output_embeddings().requires_grad_(False)
    whole = loss(decoder, batch([0, 1, 2, 3]), chosen)
    monkeypatch.setattr(forward, "NUMBERS", 5 * decoder.network.config.vocab_size)
    made = batch([0, 1, 2, 3])
    read = []
    output.register_forward_hook(lambda module, given, found: read.append(len(found)) if found.requires_grad else None)
    for first, second in zip(whole, loss(decoder, made, chosen), strict=True):
        torch.testing.assert_close(first, second)
    assert sum(read) == len(made.rows_by_head()[""]) and max(read) == 5


@pytest.mark.parametrize("chosen", ["sft", "dft", "focal", "profit"])
def test_below_a_fixed_output_layer_of_a_label_no_logits_are_made(decoder, batch, monkeypatch, chosen):
    decoder.network.get_output_embeddings().requires_grad_(False)
    whole = loss(decoder, batch([0, 1, 2, 3]), chosen)
    monkeypatch.setattr(forward, "NUMBERS", 5 * decoder.network.config.vocab_size)
    monkeypatch.setattr(pieces, "_STATES", 4)
    monkeypatch.setattr(pieces, "_COLUMNS", 7)
    monkeypatch.setattr(objective.Objective, "_piece", None)
    made = batch([0, 1, 2, 3])
    for first, second in zip(whole, loss(decoder, made, chosen), strict=True):
        torch.testing.assert_close(first, second)


def test_psft_of_a_fresh_older_self_is_sft_to_the_bit_and_in_pieces_to_rounding(decoder, batch, monkeypatch):
    decoder.network.get_output_embeddings().requires_grad_(False)

    def pair():
        return (loss(decoder, batch([0, 1, 2, 3]), chosen)[2] for chosen in ("sft", "psft"))

    sft, psft = pair()
    assert all(torch.equal(sft[name], psft[name]) for name in sft)
    monkeypatch.setattr(forward, "NUMBERS", 5 * decoder.network.config.vocab_size)
    sft, psft = pair()
    for name in sft:
        torch.testing.assert_close(sft[name], psft[name], rtol=1e-5, atol=1e-6)


def test_a_frozen_model_answers_as_it_did_whatever_moves(decoder, batch):
    moving = dict(decoder.network.named_parameters())
    made = batch([0, 2])
    rows = made.rows_by_head()[""]
    before = made.logits("", rows).detach()
    frozen = Frozen(moving, {name: p.detach().clone() for name, p in moving.items()})
    with torch.no_grad():
        for parameter in moving.values():
            parameter.add_(0.1)
    torch.testing.assert_close(frozen.at(batch([0, 2]), "", rows), before)
    assert not torch.allclose(batch([0, 2]).logits("", rows), before)
    assert frozen.at(made, "", rows[:3]).requires_grad is False


def test_parts_of_a_batch_weigh_as_many_tokens_as_they_have(decoder, batch):
    inputs = batches.collate(decoder, batch.pool, [0, 1, 2, 3])
    parts = batches.parts(inputs, 2)
    learned = [int((part["labels"] != encoding.IGNORED).sum()) for part, _ in parts]
    assert [share for _, share in parts] == pytest.approx([one / sum(learned) for one in learned])
