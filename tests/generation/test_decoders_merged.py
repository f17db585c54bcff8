"""Versions of one decoder merged: one alone answers as it did, two move by the sum of what they moved."""

import pytest
import torch

from holdfast import adapters, models
from holdfast.records import Start
from holdfast.selection import Selection
from tests.merging import versions
from tests.merging.versions import merged

IDS = torch.tensor([[5, 6, 7, 8]])
LORA = {"r": 2, "lora_alpha": 4, "target_modules": ["layers.0.self_attn.q_proj"]}
WHOLE = {"model.layers.1.mlp.down_proj.weight", "model.embed_tokens.weight"}  # the latter is the output layer too


@pytest.fixture
def begun(start) -> Start:
    """A tiny Llama as the start model of versions that answer in words."""
    return start("llama").model_copy(update={"task": "generation"})


@pytest.fixture
def tuned(home, begun):
    """Return a function that tunes it at random within a selection."""
    return lambda chosen, seed: versions.tuned(begun, chosen, seed, home)


def logits(version: Start, home) -> torch.Tensor:
    network = models.load(version, home).network.eval()
    with torch.inference_mode():
        return network(input_ids=IDS).logits


def values(version: Start, home) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in adapters.bare(models.load(version, home)).items()}


@pytest.mark.parametrize("chosen", [Selection(added=LORA), Selection(whole=frozenset(WHOLE))], ids=["lora", "whole"])
def test_one_version_at_weight_1_answers_as_it_did(tuned, begun, home, chosen):
    version = tuned(chosen, 3)
    again = logits(merged([version], begun, home)[0], home)
    torch.testing.assert_close(again, logits(version, home), atol=1e-5, rtol=0)
    assert not torch.allclose(again, logits(begun, home), atol=1e-3), "it was tuned"


def test_two_versions_move_by_the_sum_of_what_they_moved(tuned, begun, home):
    parents = tuned(Selection(whole=frozenset(WHOLE)), 2), tuned(Selection(added=LORA), 3)
    both, before = values(merged(parents, begun, home, weights=[1.0, 0.5])[0], home), values(begun, home)
    first, second = (values(version, home) for version in parents)
    for name, value in both.items():
        wanted = before[name] + (first[name] - before[name]) + 0.5 * (second[name] - before[name])
        torch.testing.assert_close(value, wanted, atol=1e-6, rtol=0)
