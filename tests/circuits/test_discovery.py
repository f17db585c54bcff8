"""Algorithm 1: on a made table of scores, and on a network in which only some heads do anything."""

import pytest
import torch

from holdfast.circuits import discovery, examples, reference, relevance
from holdfast.circuits.faithfulness import Judge
from holdfast.circuits.settings import Circuit
from holdfast.decomposition import architectures, packed, whole
from holdfast.decomposition.settings import Rules

PLANTED = [(0, 2), (1, 1), (2, 3), (2, 0)]


def table(answer, between=()):
    """Three layers of four heads with these scores; all others are a little negative."""
    found = relevance.Relevance(torch.full((3, 4), -0.01), torch.zeros(3, 4, 3, 4))
    for head, score in answer.items():
        found.answer[head] = score
    for source, target, score in between:
        found.between[(*source, *target)] = score
    return found


def down(top, normalise=True):
    """Algorithm 1, with this share of heads per round."""
    return Circuit(top=top, rounds=9, normalise=normalise, aim="heads")


def test_rounds_go_down_from_the_answer_to_what_feeds_the_last_round():
    scores = table({(2, 3): 1.0}, [((1, 1), (2, 3), 0.5), ((0, 2), (1, 1), 0.5), ((0, 0), (2, 3), 0.1)])
    worth = {(2, 3): 0.4, (1, 1): 0.3, (0, 2): 0.28}
    found = discovery.discover(scores, lambda c: sum(worth.get(h, -0.01) for h in c), down(1 / 12, normalise=False))
    assert found.heads == [(2, 3), (1, 1), (0, 2)]
    assert [one.targets for one in found.rounds] == [[], [(2, 3)], [(1, 1)]]
    assert [one.faithfulness for one in found.rounds] == pytest.approx([0.4, 0.7, 0.98])
    assert discovery.ranking(found, scores)[:3] == found.heads and len(discovery.ranking(found, scores)) == 12


def test_a_head_whose_removal_helps_is_pruned_and_a_round_that_does_not_help_is_taken_back():
    scores = table({(2, 3): 1.0, (2, 1): 0.9}, [((1, 0), (2, 3), 0.5)])
    worth = {(2, 3): 0.5, (2, 1): -0.2, (1, 0): 0.0}
    found = discovery.discover(scores, lambda c: sum(worth[h] for h in c), down(1 / 6, normalise=True))
    assert found.heads == [(2, 3)] and found.rounds[0].pruned == [(2, 1)]
    assert len(found.rounds) == 2 and not found.rounds[1].kept


def test_where_nothing_lies_below_the_answer_is_aimed_at_again():
    worth = {(0, 0): 0.5, (0, 1): 0.3, (1, 2): 0.2}
    scores = table({(0, 0): 1.0, (0, 1): 0.9, (1, 2): 0.8})
    found = discovery.discover(scores, lambda c: sum(worth[h] for h in c), down(1 / 12, normalise=True))
    assert found.heads == [(0, 0), (0, 1), (1, 2)] and all(one.targets == [] for one in found.rounds)


def test_aiming_at_the_answer_alone_goes_down_the_list():
    scores = table({(2, 3): 1.0, (0, 1): 0.9, (1, 2): 0.8}, [((1, 0), (2, 3), 9.0)])
    worth = {(2, 3): 0.3, (0, 1): 0.3, (1, 2): 0.3, (1, 0): 9.0}
    found = discovery.discover(scores, lambda c: sum(worth.get(h, -0.1) for h in c), Circuit(top=1 / 12, rounds=9))
    assert found.heads == [(2, 3), (0, 1), (1, 2)]


def test_scores_towards_heads_are_divided_by_the_mean_size_of_their_layer_when_asked_for():
    scores = torch.tensor([[0.1, 0.01, 0.01, 0.0], [2.0, 3.0, 2.5, 0.0]])
    assert discovery.highest(scores, [], 2, False) == [(1, 1), (1, 2)]
    assert discovery.highest(scores, [], 2, True) == [(0, 0), (1, 1)]
    assert discovery.highest(-scores, [], 2, True) == [] and (1, 1) not in discovery.highest(scores, [(1, 1)], 8, True)


@pytest.fixture(scope="module")
def planted():
    """A random Qwen2 in which the output columns of all heads but the planted ones are zero, labelled by what they do.

    A row's label is the logit that its heads raise most above what it is with every head at its mean.
    """
    from transformers import Qwen2Config, Qwen2ForSequenceClassification

    torch.manual_seed(3)
    config = Qwen2Config(
        vocab_size=40, num_labels=3, pad_token_id=0, hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, intermediate_size=48,
    )  # fmt: skip
    network = Qwen2ForSequenceClassification(config).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.2)
    for layer in range(3):
        for head in range(4):
            if (layer, head) not in PLANTED:
                network.model.layers[layer].self_attn.o_proj.weight[:, 8 * head : 8 * head + 8] = 0
    rows = [{"input_ids": torch.randint(3, 40, (7,)).tolist(), "attention_mask": [1] * 7} for _ in range(30)]
    parts = architectures.describe(network)
    with torch.no_grad():
        held = packed.pack(network, parts, rows)
        means = reference.measure(parts, examples.chunks(network, parts, rows, [0] * 30), "mean")
        nothing = whole.logits(parts, held, lambda layer, mixed: means.of(layer, held))[0]
        targets = (held.logits - nothing).argmax(-1).tolist()
        chunks = examples.chunks(network, parts, [rows[i] for i in held.order], targets)
        means = reference.measure(parts, chunks, "mean")
        return parts, chunks, means


@pytest.mark.parametrize("aim", ["answer", "heads"])
def test_a_planted_circuit_is_found(planted, aim):
    parts, chunks, means = planted
    with torch.no_grad():
        scores = relevance.measure(parts, chunks, means, Rules(), "mean")
        judge = Judge(parts, chunks, means, "mean")
        found = discovery.discover(scores, judge.faithfulness, Circuit(top=1 / 6, close=0.02, aim=aim))
    idle = [(layer, head) for layer in range(3) for head in range(4) if (layer, head) not in PLANTED]
    assert max(abs(float(scores.answer[head])) for head in idle) < 1e-6
    assert judge.faithfulness(PLANTED) == pytest.approx(1, abs=1e-4)
    assert len(found.heads) >= 2 and set(found.heads) <= set(PLANTED)
    assert found.rounds[-1].faithfulness > 0.8
