"""Versions with known behaviour: heads whose predictions are balanced, and gold labels chosen after looking."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch

from holdfast import adapters, inference, models, rows
from holdfast.home import Home
from holdfast.models import Model
from holdfast.records import Artifact, DatasetVersion, Start, Validated
from holdfast.selection import Selection

LABELS = ("negative", "positive")


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """A hundred and twenty distinct texts over the tiny vocabulary."""
    first, second = "good bad fine awful great poor nice nasty", "movie food service bagus buruk enak jelek"
    words = [*first.split(), *second.split()]
    return [f"the {a} was {b} and {a}" for a, b in product(words, words[:8])]


@pytest.fixture
def make(home: Home, texts: list[str]) -> Callable[..., Start]:
    """Return a function that makes a stored version of `start` with balanced heads, after `change` had its way."""

    def build(start: Start, change: Callable[[Model], None] = lambda model: None, **heads: tuple[str, ...]) -> Start:
        model = models.load(start, home)
        for seed, (name, labels) in enumerate(heads.items()):
            model.add_head(name, labels, seed)
            balance(model, texts)
        change(model)
        everything = Selection(whole=frozenset(model.encoder_parameters()))
        with home.store.scratch() as scratch:
            adapters.write(model, everything, start, home, scratch / "adapter")
            artifact = home.store.put(scratch / "adapter", "adapter")
        known = adapters.info(home.store.open(artifact))
        return Start(model=start.model, base=start.base, adapter=artifact, heads=known)

    return build


def balance(model: Model, texts: list[str]) -> None:
    """Scale the binary head in place up, and centre it so that each label is predicted for half of the texts."""
    weight, bias = model.network.classifier.weight, model.network.classifier.bias
    with torch.no_grad():
        weight[1] = -weight[0]
        weight.mul_(50 / weight.abs().max())
        logits = torch.tensor(inference.logits(model, texts, precision="fp32"))
        middle = (logits[:, 0] - logits[:, 1]).median() / 2 + 1e-3
        bias.copy_(torch.stack([-middle, middle]))


def negate(*heads: str) -> Callable[[Model], None]:
    """Return a change that makes binary heads predict the opposite of what they did."""

    def change(model: Model) -> None:
        for name in heads:
            for parameter in model.heads[name].parameters.values():
                parameter.data.neg_()

    return change


def predictions(start: Start, home: Home, head: str, texts: list[str]) -> list[str]:
    """Return what a version predicts, straight from the model."""
    model = models.load(start, home)
    model.use_head(head)
    best = inference.logits(model, texts, max_length=32, precision="fp32").argmax(-1)
    return [model.labels[i] for i in best]


def opposite(labels: list[str]) -> list[str]:
    """Return the other label of each."""
    return [LABELS[1 - LABELS.index(label)] for label in labels]


def dataset(home: Home, texts: list[str], gold: list[str]) -> DatasetVersion:
    """Return a stored dataset version."""
    items = [{"id": str(i), "text": t, "label": g} for i, (t, g) in enumerate(zip(texts, gold, strict=True))]
    return rows.version(home, items)


def validated(**datasets: DatasetVersion) -> Validated:
    """Return a validation's record; double underscores in names stand for dots."""
    return Validated(
        datasets={key.replace("__", "."): version for key, version in datasets.items()},
        labels=LABELS,
        quarantined=0,
        expectations=(),
        competences=(),
        artifact=Artifact(kind="validation", digest="0" * 64),
    )


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return torch's softmax in float64."""
    return torch.softmax(torch.tensor(logits, dtype=torch.float64), -1).numpy()
