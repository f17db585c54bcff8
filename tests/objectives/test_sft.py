"""Cross entropy against its definition."""

import numpy as np
import pytest
import torch

from holdfast.objectives import sft

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.3, -4.0]])
LABELS = torch.tensor([0, 2])


def test_loss_is_the_cross_entropy_per_row() -> None:
    found = sft.loss(LOGITS, LABELS, sft.Options())
    assert found.shape == (2,)
    for row, (logits, label) in enumerate(zip(LOGITS.numpy().astype(float), LABELS.tolist(), strict=True)):
        assert found[row].item() == pytest.approx(-np.log(np.exp(logits)[label] / np.exp(logits).sum()), rel=1e-6)
