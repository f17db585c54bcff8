"""Cross entropy against its definition, with and without label smoothing."""

import numpy as np
import pytest
import torch

from holdfast.objectives import sft

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.3, -4.0]])
LABELS = torch.tensor([0, 2])


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_is_the_cross_entropy_with_the_smoothed_label(smoothing: float) -> None:
    found = sft.loss(LOGITS, LABELS, sft.Options(label_smoothing=smoothing))
    for row, (logits, label) in enumerate(zip(LOGITS.numpy().astype(float), LABELS.tolist(), strict=True)):
        probabilities = np.exp(logits) / np.exp(logits).sum()
        target = np.full(3, smoothing / 3)
        target[label] += 1 - smoothing
        assert found[row].item() == pytest.approx(-(target * np.log(probabilities)).sum(), rel=1e-6)


def test_loss_is_per_row() -> None:
    assert sft.loss(LOGITS, LABELS, sft.Options()).shape == (2,)
