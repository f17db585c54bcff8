"""Candidates are what a hand computation gives: whole tensors, masked ones, and LoRA's product of two matrices."""

import pytest
import torch

from holdfast import models, selection
from holdfast.control import weights
from holdfast.control.weights import Candidate
from holdfast.selection import Selection
from holdfast.tuners.injected import merged_weights


def test_whole_tensors_lie_on_the_line_and_the_end_is_exact() -> None:
    start, tuned = {"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([3.0, -2.0])}
    assert torch.equal(weights.made(Candidate(1, 5, 0.25), start, tuned)["w"], torch.tensor([1.5, 1.0]))
    assert weights.made(Candidate(1, 5), start, tuned)["w"] is tuned["w"]


def test_what_did_not_move_stays_to_the_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(100, generator=generator)
    mask = torch.rand(100, generator=generator) < 0.5
    tuned = torch.where(mask, torch.randn(100, generator=generator), start)
    made = weights.made(Candidate(1, 5, 0.3), {"w": start}, {"w": tuned})["w"]
    assert torch.equal(made[~mask], start[~mask])
    assert torch.allclose(made[mask], 0.7 * start[mask] + 0.3 * tuned[mask], atol=1e-6)


def test_loras_change_is_scaled_as_a_whole(home, tiny_start) -> None:
    model = models.load_with_head(tiny_start, home, "mood", ("a", "b"), 0)
    name = "encoder.layer.0.attention.self.query"
    selection.attach(model, Selection(added={"r": 2, "lora_alpha": 4, "target_modules": [name]}, seed=1))
    moving = {n: p for n, p in model.network.named_parameters() if p.requires_grad}
    start = {n: p.detach().clone() for n, p in moving.items()}
    base = merged_weights(model.encoder)[f"{name}.weight"].clone()
    generator = torch.Generator().manual_seed(1)
    tuned = {n: torch.randn(p.shape, generator=generator) for n, p in start.items()}
    for share in (1.0, 0.25):
        values = weights.made(Candidate(1, 5, share), start, tuned)
        with torch.no_grad():
            for n, p in moving.items():
                p.copy_(values[n])
        if share == 1:
            change = merged_weights(model.encoder)[f"{name}.weight"] - base
    assert torch.allclose(merged_weights(model.encoder)[f"{name}.weight"], base + 0.25 * change, atol=1e-5)
    head = "classifier.weight"
    assert torch.allclose(values[head], 0.75 * start[head] + 0.25 * tuned[head], atol=1e-6)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1])
def test_the_start_model_is_no_candidate(share: float) -> None:
    with pytest.raises(ValueError, match="lies above 0"):
        Candidate(1, 5, share)


def test_names_for_people() -> None:
    assert Candidate(1, 84).name == "update 84"
    assert Candidate(2, 84, 0.4375).name == "attempt 2, update 84, 43.75% of the way"
