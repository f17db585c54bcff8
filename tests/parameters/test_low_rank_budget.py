"""The rank that a budget pays for: what moves is within one rank of the budget, on an encoder and a decoder."""

import pytest

from holdfast import choices, selection
from holdfast.tuners import kinds

KINDS = ["lora", "dora", "pissa"]


def chosen(model, raw):
    return selection._united(model, None, choices.parse("parameters", {"lora": raw}, "parameters"))


def added(model, found) -> int:
    """Attach what was chosen; return how many numbers beside the frozen ones may move, counted on the network."""
    selection.attach(model, found)
    free = (p for n, p in model.network.named_parameters() if p.requires_grad and kinds.is_added(n))
    return sum(p.numel() for p in free)


@pytest.fixture
def decoder(network_model):
    """Two layers of width 32, whose keys and values have half as many heads as the queries."""
    from transformers import Qwen2Config

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    return network_model(Qwen2Config(vocab_size=64, intermediate_size=64, num_labels=2, pad_token_id=0, **sizes))


def _one_rank(targets: str, decoder: bool) -> int:
    """Return in + out over the adapted matrices, by hand: width 32, feed-forward 64, values of the decoder 16."""
    if targets == "mlp":
        return 2 * (3 if decoder else 2) * (32 + 64)
    return 2 * (64 + 48 if decoder else 2 * 64)


@pytest.mark.parametrize("targets", ["query and value", "mlp"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("which", ["model", "decoder"])
@pytest.mark.parametrize("budget", [{"share": 0.08}, {"weights": 2345}], ids=["share", "weights"])
def test_what_moves_is_within_one_rank_of_the_budget(request, which, kind, targets, budget) -> None:
    model = request.getfixturevalue(which)
    found = chosen(model, {"kind": kind, **budget, **({"targets": ["mlp"]} if targets == "mlp" else {})})
    asked = budget.get("weights") or budget["share"] * selection.total(model)
    moves = selection.moved(found, model)
    assert added(model, found) == moves
    assert asked - _one_rank(targets, which == "decoder") < moves <= asked
    assert found.notes == (
        f"rank {found.added['r']}: {moves} of {selection.total(model)} weights "
        f"({moves / selection.total(model):.3%}), at most {int(asked)} were asked for",
    )


def test_a_budget_below_rank_1_gets_rank_1_and_says_so(model) -> None:
    found = chosen(model, {"weights": 200})
    assert found.added["r"] == 1 and selection.moved(found, model) == 256
    assert found.notes[0].endswith("more than the 200 asked for: rank 1")


def test_the_exact_price_of_a_rank_buys_it(model) -> None:
    assert [chosen(model, {"weights": n}).added["r"] for n in (1023, 1024)] == [3, 4]


def test_a_budget_is_read_back_from_what_was_kept_as_it_was_given(model) -> None:
    for raw in ({"share": 0.04}, {"weights": 900}, 4, {}):
        once = choices.parse("parameters", {"lora": raw}, "parameters")
        assert choices.parse("parameters", once, "parameters") == once
    assert choices.parse("parameters", "lora", "parameters")["lora"]["r"] == 8
