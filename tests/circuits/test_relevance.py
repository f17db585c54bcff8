"""Scores of all heads against one plain pass per source, and ablation against hooks on the network itself."""

import pytest
import torch

from holdfast.circuits import ablation, examples, reference, relevance
from holdfast.circuits.faithfulness import Judge, sizes
from holdfast.decomposition import architectures, plain, whole
from holdfast.decomposition.settings import Rules

TARGETS = [0, 2, 1, 1, 0, 2, 0]
LENGTHS = (5, 9, 2, 7, 5, 8, 3)
WEIGHTS = torch.tensor([1 / 9, 1 / 6, 1 / 6, 1 / 6, 1 / 9, 1 / 6, 1 / 9])  # labels 0, 1 and 2 a third each


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


class World:
    """A random network, seven rows of different lengths, and the rows once packed and once padded."""

    def __init__(self, kind):
        from transformers import BertConfig, BertForSequenceClassification, Qwen2Config, Qwen2ForSequenceClassification

        sizes = {"vocab_size": 40, "num_labels": 3, "pad_token_id": 0, "hidden_size": 32, "num_hidden_layers": 3}
        sizes |= {"num_attention_heads": 4, "intermediate_size": 48, "max_position_embeddings": 32}
        torch.manual_seed(0)
        made = (
            BertForSequenceClassification(BertConfig(**sizes))
            if kind == "bert"
            else Qwen2ForSequenceClassification(Qwen2Config(**sizes, num_key_value_heads=2))
        )
        self.network = made.eval().requires_grad_(False)
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
        ids = [torch.randint(3, 40, (n,)).tolist() for n in LENGTHS]
        self.rows = [{"input_ids": row, "attention_mask": [1] * len(row)} for row in ids]
        width = max(LENGTHS)
        self.padded = {
            "input_ids": torch.tensor([row + [0] * (width - len(row)) for row in ids]),
            "attention_mask": torch.tensor([[1] * n + [0] * (width - n) for n in LENGTHS]),
        }
        self.read = torch.tensor([0 if kind == "bert" else n - 1 for n in LENGTHS])
        self.parts = architectures.describe(self.network)
        self.chunks = examples.chunks(self.network, self.parts, self.rows, TARGETS)
        self.outputs = (
            [layer.attention.output.dense for layer in made.bert.encoder.layer]
            if kind == "bert"
            else [layer.self_attn.o_proj for layer in made.model.layers]
        )

    def mixed(self):
        """What every layer's heads mix on the padded rows, from hooks: [layers, B, T, heads * d]."""
        seen = []
        handles = [m.register_forward_pre_hook(lambda m, args: seen.append(args[0])) for m in self.outputs]
        self.network(**self.padded)
        for handle in handles:
            handle.remove()
        return seen

    def means(self, positions):
        """The reference of each layer at every token, [T, heads * d], computed row by row."""
        found = []
        for number, z in enumerate(self.mixed()):
            if number == 2 or positions == "read":
                mean = sum(WEIGHTS[i] * z[i, self.read[i]] for i in range(7))
                found.append(mean.expand(z.shape[1:]))
            elif positions == "mean":
                mean = sum(WEIGHTS[i] * z[i, : LENGTHS[i]].mean(0) for i in range(7))
                found.append(mean.expand(z.shape[1:]))
            else:
                found.append(torch.stack([self._at(z, t) for t in range(z.shape[1])]))
        return found

    @staticmethod
    def _at(z, position):
        weights = {i: WEIGHTS[i] / LENGTHS[i] for i in range(7) if LENGTHS[i] > position}
        return sum(w * z[i, position] for i, w in weights.items()) / sum(weights.values())


@pytest.fixture(scope="module", params=["bert", "qwen2"])
def world(request):
    with torch.no_grad():
        return World(request.param)


def margin(logits):
    """Mean over rows, labels alike, of the right label's logit less the mean of the others'."""
    each = [row[y] - (row.sum() - row[y]) / 2 for row, y in zip(logits, TARGETS, strict=True)]
    return float((WEIGHTS * torch.stack(each)).sum())


@pytest.mark.slow
@pytest.mark.parametrize("rules", [Rules(), Rules("frozen", "inter", True)])
def test_all_scores_in_one_sweep_are_those_of_one_plain_pass_per_head(world, rules, monkeypatch):
    monkeypatch.setattr(relevance, "_TOGETHER", 3 * sum(LENGTHS))  # three sources at once, then one
    means = reference.measure(world.parts, world.chunks, "mean")
    found = relevance.measure(world.parts, world.chunks, means, rules, "mean")
    rows, z = plain.observe_padded(world.network, world.parts, world.padded), world.mixed()
    for layer in range(3):
        for head in range(4):
            own = slice(8 * head, 8 * head + 8)
            given = plain.Source(layer, head, world.means("mean")[layer][:, own])
            got = plain.propagate(world.parts, rows, given, rules)
            assert float(found.answer[layer, head]) == pytest.approx(margin(got.logits[0]), abs=1e-4)
            for above in range(3):
                for target in range(4):
                    expected = projected(world, got.mixed[above][0], z[above], above, target) if above > layer else 0.0
                    assert float(found.between[layer, head, above, target]) == pytest.approx(expected, abs=1e-4)


def projected(world, beta, z, layer, target):
    """Mean over rows and tokens of <beta, d> / ||d|| at one head; in the last layer at the read token alone."""
    own, total = slice(8 * target, 8 * target + 8), 0.0
    for i in range(7):
        tokens = [int(world.read[i])] if layer == 2 else range(LENGTHS[i])
        for t in tokens:
            away = z[i, t, own] - world.means("mean")[layer][t, own]
            total += float(WEIGHTS[i] * (beta[i, target, t] @ away) / away.norm()) / len(tokens)
    return total


@pytest.mark.parametrize("positions", ["mean", "each", "read"])
def test_the_reference_is_the_mean_over_rows_every_label_alike(world, positions):
    found = reference.measure(world.parts, world.chunks, positions)
    packed = world.chunks[0].packed
    for layer, expected in enumerate(world.means(positions)):
        place = packed.position[packed.read] if layer == 2 else packed.position
        torch.testing.assert_close(found.of(layer, packed).squeeze(1), expected[place], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("positions", ["mean", "each", "read"])
def test_ablation_is_that_of_hooks_on_the_network(world, positions):
    means = reference.measure(world.parts, world.chunks, positions)
    kept = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 1], [1, 1, 1, 0]], dtype=torch.bool)
    expected_means = world.means(positions)
    handles = [
        module.register_forward_pre_hook(exchange(kept[layer], expected_means[layer], world.read, positions))
        for layer, module in enumerate(world.outputs)
    ]
    expected = margin(world.network(**world.padded).logits)
    for handle in handles:
        handle.remove()
    ablated = ablation.Ablation(world.parts, world.chunks, means)
    for _ in range(2):  # the second time nearly all of it is known
        assert ablated.margin(kept) == pytest.approx(expected, abs=1e-5)


def test_what_two_circuits_share_is_not_computed_again_and_changes_nothing(world, monkeypatch):
    means = reference.measure(world.parts, world.chunks, "mean")
    ablated, computed, real = ablation.Ablation(world.parts, world.chunks, means), [], whole.layer
    monkeypatch.setattr(whole, "layer", lambda *given: computed.append(1) or real(*given))
    generator, kept = torch.Generator().manual_seed(0), torch.rand(3, 4) > 0.5
    for number in range(9):
        changed = number % 3
        kept[changed] = torch.rand(4, generator=generator) > 0.5
        computed.clear()
        found, count = ablated.margin(kept), len(computed)
        assert found == ablation.Ablation(world.parts, world.chunks, means).margin(kept)
        assert number == 0 or count <= 3 - changed


def exchange(kept, means, read, positions):
    def hook(module, args):
        z = args[0].clone()
        for i in range(len(z)):
            for head in range(4):
                own = slice(8 * head, 8 * head + 8)
                if not kept[head]:
                    tokens = [int(read[i])] if positions == "read" else list(range(z.shape[1]))
                    z[i, tokens, own] = means[tokens, own]
        return (z,)

    return hook


def test_several_chunks_give_what_one_gives(world, monkeypatch):
    def scores():
        means = reference.measure(world.parts, chunks, "mean")
        return relevance.measure(world.parts, chunks, means, Rules(), "mean")

    chunks = world.chunks
    one = scores()
    monkeypatch.setattr(examples, "_NUMBERS", 16 * examples._numbers_per_token(world.parts))
    chunks = examples.chunks(world.network, world.parts, world.rows, TARGETS)
    several = scores()
    assert len(chunks) > 2
    torch.testing.assert_close(one.answer, several.answer, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(one.between, several.between, atol=1e-5, rtol=1e-4)


def test_the_margin_is_against_the_mean_or_the_strongest_rival():
    values, targets = torch.tensor([[[1.0, 5.0, 2.0]], [[0.0, 3.0, 9.0]]]), torch.tensor([1, 0])
    said = torch.tensor([[0.0, 9.0, 1.0], [9.0, 2.0, 1.0]])
    assert examples.margins(values, said, targets, "mean").flatten().tolist() == [5 - 1.5, 0 - 6]
    assert examples.margins(values, said, targets, "strongest").flatten().tolist() == [5 - 2, 0 - 3]


def test_faithfulness_is_one_for_all_heads_and_zero_for_none(world):
    judge = Judge(world.parts, world.chunks, reference.measure(world.parts, world.chunks, "mean"), "mean")
    every = [(layer, head) for layer in range(3) for head in range(4)]
    assert judge.faithfulness(every) == 1.0 and judge.faithfulness([]) == 0.0
    assert judge.whole == pytest.approx(margin(world.network(**world.padded).logits), abs=1e-5)
    first, again, other = (judge.point(every[:3], 10, seed) for seed in (1, 1, 2))
    assert len(first.random) == 10 and first == again and first.random != other.random
    assert first.beaten == sum(first.faithfulness > f for f in first.random) / 10
    assert sizes(5, 12) == [1, 2, 4, 5, 8] and sizes(12, 12) == [1, 2, 4, 8, 12]
