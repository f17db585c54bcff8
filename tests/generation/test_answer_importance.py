"""Importance over answers, against automatic differentiation of one example after the other."""

import pytest
import torch

from holdfast import models
from holdfast.generation import encoding
from holdfast.importance import answers
from holdfast.records import Start

ROWS = [{"prompt": f"{i} and {i + 1}", "answer": f"is {2 * i + 1}"} for i in range(5)]


def alone(model, power):
    """Mean over the examples of |d log p(answer) / d w| to the power, one backward pass each."""
    encoder = encoding.Encoder(model.tokenizer, 64)
    total = {name: torch.zeros_like(p) for name, p in model.network.named_parameters()}
    for row in ROWS:
        model.network.zero_grad()
        inputs = encoding.stack([encoder.pair(row["prompt"], row["answer"])])
        labels = inputs.pop("labels")[:, 1:]
        said = labels != encoding.IGNORED
        logs = model.network(**inputs).logits[:, :-1].log_softmax(-1)[said]
        logs.gather(1, labels[said][:, None]).sum().backward()
        for name, parameter in model.network.named_parameters():
            total[name] += parameter.grad.abs() ** power / len(ROWS)
    model.network.zero_grad(set_to_none=True)
    return total


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("measure", ["empirical-fisher", "taylor"])
def test_the_gradient_of_every_answer_is_taken_by_itself(tmp_path, home, make_folder, measure, tied):
    from holdfast import bases

    place = str(make_folder(tmp_path / "base", "llama", tie_word_embeddings=tied))
    model = models.load(Start(model=place, base=bases.resolve(place), task="generation"), home)
    found = answers.measure(measure, model, ROWS, 64, 3)
    weights = dict(model.network.named_parameters())
    for name, wanted in alone(model, 2 if measure != "taylor" else 1).items():
        by = weights[name].detach().abs() if measure == "taylor" else 1
        torch.testing.assert_close(found[name], wanted * by, rtol=1e-3, atol=1e-6 * float(wanted.max()))


def test_drawn_tokens_have_the_fisher_information_of_the_model_on_average(model):
    """In the output layer's input the Fisher of one position is diag(p) - p p^T, whose diagonal is p (1 - p)."""
    p = torch.tensor([[[2.0, 0.5, -1.0, 0.0]] * 3])
    labels = torch.tensor([[1, -100]])
    squares = [answers._directions(p, labels, [(seed, 0)]).square().sum(0) for seed in range(400)]
    mean, q = torch.stack(squares).mean(0)[0], p[0, 0].softmax(-1)
    torch.testing.assert_close(mean[0], q * (1 - q), rtol=0.1, atol=0.01)
    assert not mean[1:].any()  # the prompt's places and the last one are not scored
