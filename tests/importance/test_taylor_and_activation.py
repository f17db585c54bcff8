import pytest
import torch

from holdfast.errors import HoldfastError
from holdfast.importance import activation, taylor

TEXTS = ["the movie was good", "a very bad movie", "the food was not nice and the service was awful", "great"]
TARGETS = [2, 0, 0, 2]


def test_taylor_is_the_mean_of_each_examples_own_product(make_model, loop):
    model = make_model("bert", torch.float64)
    chosen = lambda i, c, p: 1.0 if c == TARGETS[i] else 0.0  # noqa: E731
    mean = loop(model, chosen, torch.abs, TEXTS)
    found = taylor.taylor(model, TEXTS, TARGETS, 64, 0)
    for name, weight in model.network.named_parameters():
        torch.testing.assert_close(found[name], mean[name] * weight.detach().abs(), rtol=1e-5, atol=1e-15)


def inputs_of(model, module):
    """Every real token's input to a module, one text at a time: [tokens, width], no padding anywhere."""
    seen = []
    handle = module.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    for text in TEXTS:
        model.network(**model.tokenizer(text, return_tensors="pt"))
    handle.remove()
    return torch.cat([value.reshape(-1, value.shape[-1]) for value in seen])


def test_activation_of_a_linear_layer_is_wandas_score(make_model):
    model = make_model("bert", torch.float64)
    found = activation.activation(model, TEXTS, TARGETS, 64, 0)
    layer = model.network.bert.encoder.layer[1]
    for name in ("intermediate.dense", "attention.self.key"):
        module = layer.get_submodule(name)
        x = inputs_of(model, module)
        score = module.weight.detach().abs() * torch.linalg.vector_norm(x, dim=0) / len(x) ** 0.5
        torch.testing.assert_close(found[f"bert.encoder.layer.1.{name}.weight"], score)
        torch.testing.assert_close(found[f"bert.encoder.layer.1.{name}.bias"], module.bias.detach().abs())
    assert len(inputs_of(model, layer.intermediate.dense)) == sum(len(t.split()) + 2 for t in TEXTS)


def test_activation_of_norms_and_embeddings_follows_the_same_rule(make_model):
    model = make_model("bert", torch.float64)
    found = activation.activation(model, TEXTS, TARGETS, 64, 0)
    norm = model.network.bert.embeddings.LayerNorm
    x = inputs_of(model, norm)
    normed = (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, correction=0) + norm.eps).sqrt()
    score = norm.weight.detach().abs() * normed.square().mean(0).sqrt()
    torch.testing.assert_close(found["bert.embeddings.LayerNorm.weight"], score)
    words = [i for text in TEXTS for i in model.tokenizer(text)["input_ids"]]
    table = model.network.bert.embeddings.word_embeddings.weight.detach().abs()
    the = model.tokenizer.convert_tokens_to_ids("the")
    score = table[the] * (words.count(the) / len(words)) ** 0.5
    torch.testing.assert_close(found["bert.embeddings.word_embeddings.weight"][the], score)
    assert found["bert.embeddings.word_embeddings.weight"][model.tokenizer.pad_token_id].max() == 0


def test_activation_refuses_a_module_that_it_has_no_rule_for(make_model):
    with pytest.raises(HoldfastError, match="LlamaRMSNorm"):
        activation.activation(make_model("llama"), TEXTS, TARGETS, 64, 0)
