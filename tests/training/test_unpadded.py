"""Without padding between attentions an encoder gives what it gave, and learns what it learned."""

import pytest
import torch

from holdfast import inference, models, read_position, unpadded
from holdfast.models import Model

TEXTS = ["the movie was good and the film was great", "a nasty", "bad", "the plot was a nasty plot", "good"]


@pytest.fixture
def model(started, home) -> Model:
    found = models.load(started, home)
    found.use_head("mood")
    found.network.eval()
    return found


def batch(model: Model, texts: list[str] = TEXTS) -> dict[str, torch.Tensor]:
    return inference.pad(model, inference.encode(model, texts, 16))


def test_values_go_there_and_back(model: Model) -> None:
    mask = batch(model)["attention_mask"]
    tokens = unpadded.of(model, mask)
    assert tokens is not None and tokens.count == mask.sum() < tokens.places < mask.numel() and tokens.places % 8 == 0
    values = torch.randn(*mask.shape, 3)
    taken = tokens.take(values)
    assert torch.equal(taken[0, : tokens.count], values[mask.bool()])
    assert torch.equal(tokens.put(taken)[mask.bool()], values[mask.bool()])
    assert torch.equal(tokens.firsts(taken), values[:, :1])


def test_gradients_are_those_of_indexing(model: Model) -> None:
    mask = batch(model)["attention_mask"]
    tokens = unpadded.of(model, mask)
    assert tokens is not None
    values = torch.randn(*mask.shape, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(tokens.count, 3, dtype=torch.float64)
    (tokens.take(values)[0, : tokens.count] * weight).sum().backward()
    expected = torch.zeros_like(values)
    expected[mask.bool()] = weight
    assert torch.equal(values.grad, expected)
    flat = torch.randn(1, tokens.places, 3, dtype=torch.float64, requires_grad=True)
    back = torch.randn(*mask.shape, 3, dtype=torch.float64)
    (tokens.put(flat) * back)[mask.bool()].sum().backward()
    assert torch.equal(flat.grad[0, : tokens.count], back[mask.bool()]) and not flat.grad[0, tokens.count :].any()


@pytest.mark.parametrize("lowest", [0, 1])
def test_logits_and_gradients_are_the_same(lowest: int, model: Model) -> None:
    inputs, found = batch(model), []
    for without in (False, True):
        model.network.zero_grad()
        tokens = unpadded.of(model, inputs["attention_mask"], lowest) if without else None
        assert (tokens is not None) is without
        with read_position.first(model, tokens), unpadded.through(model, tokens, lowest):
            logits = model.network(**inputs).logits
        logits.square().sum().backward()
        found.append((logits.detach(), [p.grad.clone() for p in model.network.parameters() if p.grad is not None]))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=1e-6)
    for one, other in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_a_processor_in_bf16_meets_few_sizes(model: Model) -> None:
    mask = batch(model, TEXTS * 9)["attention_mask"]
    assert unpadded.of(model, mask).places == 264
    assert unpadded.of(model, mask, precision="bf16").places == 384
    assert unpadded.of(model, mask[:8], precision="bf16") is None, "128 places would be no less than there are"


def test_layers_see_fewer_places(model: Model) -> None:
    inputs, seen = batch(model), []
    tokens = unpadded.of(model, inputs["attention_mask"])
    for layer in unpadded.layers(model):
        layer.attention.self.value.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[:2]))
    with read_position.first(model, tokens), unpadded.through(model, tokens):
        model.network(**inputs)
    assert seen == [(1, tokens.places)] * 2


def test_padding_stays_where_it_must(model: Model) -> None:
    mask = batch(model)["attention_mask"]
    assert unpadded.of(model, mask[:1]) is None, "a row that fills its width"
    assert unpadded.of(model, mask.flip(1)) is None, "rows that begin with padding"
    attention = unpadded.layers(model)[0].attention
    attention.self = torch.nn.Sequential(attention.self)
    assert unpadded.of(model, mask) is None, "something stands around the attention of the lowest layer"
    assert unpadded.of(model, mask, 1) is not None, "but the layers above it are plain"
    model.network.config.model_type = "distilbert"
    assert unpadded.of(model, mask) is None, "another architecture"


@pytest.mark.parametrize("training", [{"gradient_checkpointing": True}, {"compile": True}], ids=str)
def test_it_leaves_a_network_alone_that_must_be_its_own(training: dict, setup, started, monkeypatch) -> None:
    from holdfast.training import compiled

    monkeypatch.setattr(compiled, "BACKEND", "eager")
    monkeypatch.setattr(unpadded, "of", lambda *given: pytest.fail("asked for"))
    made = setup(start=started, training={"epochs": 1, **training})
    assert made.run().steps == 6


def test_the_curve_counts_what_went_through(setup, started) -> None:
    made = setup(start=started, training={"epochs": 1})
    found = made.curve(made.run())
    monkey = made.with_(gradient_checkpointing=True)
    padded = monkey.curve(monkey.run())
    assert found["tokens"] == padded["tokens"] and found["padding"] < padded["padding"]
