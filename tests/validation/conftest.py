"""One call that validates lists of rows, and start models whose heads are known to be able, or unable, to do a task."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import pytest
import torch

from holdfast import adapters, inference, models, rows
from holdfast.home import Home
from holdfast.models import Model
from holdfast.records import Start, Validated
from holdfast.selection import Selection
from holdfast.spec import Learn, Remember
from holdfast.validation import validate as stage

LABELS = ("negative", "positive")
MAX_LENGTH = 16


def table(pairs: Sequence[tuple[Any, Any]]) -> list[dict[str, Any]]:
    """Return rows of (text, label) pairs."""
    return [{"id": str(i), "text": text, "label": label} for i, (text, label) in enumerate(pairs, 1)]


def texts(things: str, words: str = "good bad fine awful great poor nice nasty") -> list[str]:
    """Return eight distinct texts for each thing."""
    return [f"the {thing} was {word}" for thing, word in product(things.split(), words.split())]


def labelled(things: str) -> list[dict[str, Any]]:
    """Return good rows: distinct texts, two labels in equal number."""
    good = {"good", "fine", "great", "nice"}
    return table([(text, LABELS[text.split()[-1] in good]) for text in texts(things)])


@pytest.fixture
def good() -> dict[str, list[dict[str, Any]]]:
    """The rows of a pipeline without a fault: 80 to train on, 16 to look at, 16 to be judged by."""
    train = "movie food service bagus buruk enak jelek is very not"
    return {"learn.train": labelled(train), "learn.valid": labelled("the a"), "learn.test": labelled("and was")}


@pytest.fixture
def validate(home: Home, tiny_start: Start) -> Callable[..., Validated]:
    """Return a function that validates rows by dataset key, with settings of `learn`, from a start model."""

    def run(
        data: dict[str, list[dict[str, Any]]],
        remember: Sequence[Remember] = (),
        start: Start = tiny_start,
        **settings: Any,
    ) -> Validated:
        refs = {"train": "train.csv", "valid": "valid.csv", "test": "test.csv"}
        learn = Learn(**{**refs, **settings})
        versions = {key: rows.version(home, own, ref=f"{key}.csv") for key, own in data.items()}
        return stage.validate(versions, start, learn, remember, MAX_LENGTH, home)

    return run


@pytest.fixture
def questions() -> list[str]:
    """Eighty texts that stand nowhere in `good`."""
    return [f"{text} food" for text in texts("movie food service bagus buruk enak jelek is very not")]


@pytest.fixture
def able(home: Home, tiny_start: Start, questions: list[str]) -> Start:
    """A version with a head named `old` that gives each of its two labels to half of `questions`."""
    model = models.load(tiny_start, home)
    model.add_head("old", LABELS, seed=3)
    balance(model, questions)
    with home.store.scratch() as scratch:
        everything = Selection(whole=frozenset(model.encoder_parameters()))
        adapters.write(model, everything, tiny_start, home, scratch / "adapter")
        artifact = home.store.put(scratch / "adapter", "adapter")
    heads = adapters.info(home.store.open(artifact))
    return Start(model="models:/old/1", base=tiny_start.base, adapter=artifact, heads=heads)


def balance(model: Model, questions: Sequence[str]) -> None:
    """Make the two rows of the head in place opposite, and centre its bias over `questions`."""
    weight, bias = model.network.classifier.weight, model.network.classifier.bias
    with torch.no_grad():
        weight[1] = -weight[0]
        weight.mul_(50 / weight.abs().max())
        logits = torch.tensor(inference.logits(model, questions, max_length=MAX_LENGTH, precision="fp32"))
        middle = (logits[:, 0] - logits[:, 1]).median() / 2
        bias.copy_(torch.stack([-middle, middle]))


@pytest.fixture
def predict(home: Home) -> Callable[[Start, Sequence[str]], list[str]]:
    """Return a function that says what a start model's head `old` answers, straight from the model."""

    def answer(start: Start, questions: Sequence[str]) -> list[str]:
        model = models.load(start, home)
        model.use_head("old")
        return [
            LABELS[i] for i in inference.logits(model, questions, max_length=MAX_LENGTH, precision="fp32").argmax(1)
        ]

    return answer
