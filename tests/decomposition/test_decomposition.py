"""The rules conserve (beta + gamma is the network), and the fast way gives what the plain way gives."""

from itertools import product

import pytest
import torch

from holdfast.decomposition import architectures, packed, plain, relevant, whole
from holdfast.decomposition.settings import Rules
from holdfast.errors import BadInput, HoldfastError

KINDS = ("bert", "roberta", "electra", "distilbert", "gpt2", "llama", "mistral", "qwen2", "qwen3")
EVERY = [(kind, "SequenceClassification") for kind in KINDS] + [(kind, "CausalLM") for kind in ("gpt2", "qwen2")]
GATED = ("llama", "mistral", "qwen2", "qwen3")
SOURCES = ((0, 1), (1, 3), (2, 0))  # of three layers: the first, one between, the last
_DIM = {"qwen3": 16}


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


def rules_of(kind):
    """Every combination of rules; only a gated MLP has products."""
    products = ("own", "inter") if kind in GATED else ("own",)
    return [Rules(*variant) for variant in product(("paper", "frozen"), products, (False, True))]


def logits(network, padded):
    """What the network says at each row's answer."""
    said = network(**padded).logits
    ends = padded["attention_mask"].sum(1) - 1
    return said if said.dim() == 2 else said[torch.arange(len(ends)), ends]


def source(kind, layer, head):
    generator = torch.Generator().manual_seed(layer)
    return plain.Source(layer, head, torch.randn(_DIM.get(kind, 8), generator=generator) * 0.1)


@pytest.mark.parametrize(("kind", "head"), EVERY)
def test_beta_and_gamma_add_up_to_the_networks_own_logits(network, padded, kind, head):
    made = network(kind, head)
    parts, expected = architectures.describe(made), logits(made, padded)
    rows = plain.observe_padded(made, parts, padded)
    for rules in rules_of(kind):
        for place in SOURCES:
            found = plain.propagate(parts, rows, source(kind, *place), rules)
            assert found.logits[0].abs().max() > 1e-3
            torch.testing.assert_close(sum(found.logits), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("kind", "head"), EVERY)
def test_without_a_source_beta_is_exactly_zero(network, rows, padded, kind, head):
    made = network(kind, head)
    parts = architectures.describe(made)
    known = whole.run(parts, packed.pack(made, parts, rows), keep_attention=True)
    nothing = torch.zeros_like(known.layers[0].mixed)
    for rules in rules_of(kind):
        found = plain.propagate(parts, plain.observe_padded(made, parts, padded), None, rules)
        assert all(bool((beta == 0).all()) for beta, _ in [found.logits, *found.mixed])
        heard = []
        beta = relevant.onward(parts, known, 0, nothing, rules, lambda layer, mixed, heard=heard: heard.append(mixed))
        assert len(heard) == 2 and all(bool((one == 0).all()) for one in [beta, *heard])


@pytest.mark.parametrize(("kind", "head"), EVERY)
def test_the_fast_way_on_packed_rows_is_the_plain_way_on_padded_ones(network, rows, padded, kind, head, monkeypatch):
    monkeypatch.setitem(relevant._BLOCK, "cpu", 700)  # several blocks, and a last one that is smaller
    made = network(kind, head)
    parts = architectures.describe(made)
    held = packed.pack(made, parts, rows)
    known = whole.run(parts, held, keep_attention=True)
    whole.check(parts, known)
    plain_rows = plain.observe_padded(made, parts, padded)
    for rules in rules_of(kind):
        for layer, head_number in SOURCES:
            given = source(kind, layer, head_number)
            expected = plain.propagate(parts, plain_rows, given, rules)
            own = slice(head_number * len(given.reference), (head_number + 1) * len(given.reference))
            mixed = torch.zeros_like(known.layers[layer].mixed).repeat(1, 2, 1)  # the second source is nothing
            mixed[:, 0, own] = known.layers[layer].mixed[:, 0, own] - given.reference
            heard = {}
            beta = relevant.onward(parts, known, layer, mixed, rules, heard.__setitem__)
            assert beta[:, 1].abs().max() < 1e-6  # rounding alone: blocks fall elsewhere in the vector units
            torch.testing.assert_close(beta[:, 0], expected.logits[0][held.order], atol=1e-4, rtol=0)
            for above, values in heard.items():
                torch.testing.assert_close(
                    values[:, 0], flat(expected.mixed[above][0], held, above == 2), atol=1e-4, rtol=0
                )


def flat(mixed, held, last):
    """The plain way's [B, heads, T, d] as the packed tokens have it; in the last layer the read tokens alone."""
    rows = mixed.transpose(1, 2).flatten(2)[held.order]
    tokens = rows[held.text, held.position]
    return tokens[held.read] if last else tokens


@pytest.mark.parametrize("kind", ["bert", "qwen2"])
def test_padding_changes_nothing(network, rows, padded, kind):
    made = network(kind)
    parts = architectures.describe(made)
    together = plain.propagate(parts, plain.observe_padded(made, parts, padded), source(kind, 1, 3), Rules())
    for i, row in enumerate(rows):
        alone = {key: torch.tensor([value]) for key, value in row.items()}
        found = plain.propagate(parts, plain.observe_padded(made, parts, alone), source(kind, 1, 3), Rules())
        torch.testing.assert_close(found.logits[0][0], together.logits[0][i], atol=1e-5, rtol=0)


def test_some_columns_are_those_columns(network, rows):
    made = network("qwen2", "CausalLM")
    everything, some = (architectures.describe(made, columns) for columns in (None, [7, 3]))
    a, b = (whole.run(parts, packed.pack(made, parts, rows)).logits for parts in (everything, some))
    torch.testing.assert_close(a[..., [7, 3]], b)


def test_products_in_bf16_stay_close(network, rows):
    made = network("bert")
    exact, lower = (architectures.describe(made, bf16=bf16) for bf16 in (False, True))
    a, b = (whole.run(parts, packed.pack(made, parts, rows)).logits for parts in (exact, lower))
    assert 0 < float((a - b).abs().max()) < 0.03 * float(a.abs().max())


def test_a_network_with_a_part_that_has_no_rule_is_refused(network, rows):
    made = network("llama")
    parts = architectures.describe(made)
    made.model.layers[1].mlp.register_forward_hook(lambda module, args, output: output * 1.5)
    with pytest.raises(HoldfastError, match="do not add up to the network"):
        whole.check(parts, whole.run(parts, packed.pack(made, parts, rows)))


def test_an_unknown_architecture_is_named():
    from types import SimpleNamespace

    with pytest.raises(BadInput, match="`t5` cannot be decomposed"):
        architectures.describe(SimpleNamespace(config=SimpleNamespace(model_type="t5")))


def test_chunks_hold_every_text_once_and_keep_to_their_size():
    lengths = [5, 30, 2, 9, 9, 1, 14]
    found = list(packed.chunks(lengths, 16))
    assert sorted(i for chunk in found for i in chunk) == list(range(7))
    assert all(sum(lengths[i] for i in chunk) <= 16 or len(chunk) == 1 for chunk in found)
