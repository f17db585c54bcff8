"""A toy task that must be learned: three-way polarity with a negation that may stand anywhere before the opinion."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

WORDS, LENGTH = 40, 12
POLAR = (range(4, 8), range(8, 12), range(12, 16))  # negative, neutral, positive
NOT, ASK, FILLERS = 2, 3, range(16, WORDS)


def draw(rows: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids [rows, LENGTH + 1] and labels [rows], the labels in turn; half the rows hold a negation."""
    generator = torch.Generator().manual_seed(seed)
    below = lambda n: int(torch.randint(n, (1,), generator=generator))  # noqa: E731
    ids = torch.randint(FILLERS.start, FILLERS.stop, (rows, LENGTH + 1), generator=generator)
    labels = torch.arange(rows) % 3
    for row in range(rows):
        opinion, negated = 1 + below(LENGTH - 1), bool(below(2))
        said = 2 - int(labels[row]) if negated else int(labels[row])
        ids[row, opinion] = POLAR[said][below(4)]
        if negated:
            ids[row, below(opinion)] = NOT
    ids[:, LENGTH] = ASK
    return ids, labels


@pytest.fixture(scope="session")
def trained() -> Callable[..., Any]:
    """Return a maker of toys trained on the task: an architecture, steps and a seed to a classifier in eval mode."""
    from transformers import BertConfig, BertForSequenceClassification, Qwen2Config, Qwen2ForSequenceClassification

    sizes: dict[str, Any] = {"vocab_size": WORDS, "num_labels": 3, "pad_token_id": 0, "hidden_size": 64}
    sizes |= {"num_attention_heads": 8, "num_hidden_layers": 4, "intermediate_size": 128}

    def make(kind: str, steps: int, seed: int = 0) -> Any:
        torch.manual_seed(seed)
        if kind == "bert":
            network: Any = BertForSequenceClassification(
                BertConfig(**sizes, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
            )
        else:
            network = Qwen2ForSequenceClassification(Qwen2Config(**sizes, num_key_value_heads=2))
        optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.01)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
        ids, labels = draw(64 * steps, seed + 1)
        network.train()
        for step in range(steps):
            batch = slice(64 * step, 64 * step + 64)
            loss = torch.nn.functional.cross_entropy(network(input_ids=ids[batch]).logits, labels[batch])
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            rate.step()
        return network.eval().requires_grad_(False)

    return make


@pytest.fixture(scope="session")
def drawn() -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    """Return `draw`."""
    return draw
