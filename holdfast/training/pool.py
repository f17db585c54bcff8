"""The rows that a tuning may use: those to be learned, then those of remembered tasks, each with its head."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from holdfast import choices, inference, rows
from holdfast.errors import BadInput
from holdfast.generation import encoding

if TYPE_CHECKING:
    from holdfast.home import Home
    from holdfast.models import Model
    from holdfast.records import DatasetVersion, Start
    from holdfast.spec import Recipe, Remember


@dataclass(frozen=True)
class Example:
    """A text, the head that scores it, its label as an index into that head's labels, and its task ("" = learned).

    Of a prompt with its answer the text is the prompt, and there is no head.
    """

    text: str
    head: str
    label: int
    task: str = ""


@dataclass(frozen=True)
class Pool:
    """Examples and their token ids; rows are known by their position.

    Where answers are learned, `tokens` have `labels`: the ids again where they are learned (`generation.encoding`);
    `targets` says where the answers come from, where they are the model's own (`generation.targets`).
    """

    examples: tuple[Example, ...]
    tokens: tuple[dict[str, list[int]], ...]
    targets: dict[str, Any] | None = None

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Tokens per row."""
        return tuple(len(tokens["input_ids"]) for tokens in self.tokens)

    @cached_property
    def learn(self) -> tuple[int, ...]:
        """Positions of the rows to be learned."""
        return tuple(i for i, example in enumerate(self.examples) if not example.task)

    @cached_property
    def remembered(self) -> tuple[int, ...]:
        """Positions of the rows of remembered tasks."""
        return tuple(i for i, example in enumerate(self.examples) if example.task)

    def by_head(self, positions: Iterable[int]) -> dict[str, list[int]]:
        """Return {head: the positions that it scores}, heads in the order of their first row."""
        found: dict[str, list[int]] = {}
        for position in positions:
            found.setdefault(self.examples[position].head, []).append(position)
        return found

    def texts(self, positions: Sequence[int]) -> list[str]:
        """Return the texts at `positions`."""
        return [self.examples[position].text for position in positions]


def build(
    model: Model,
    datasets: dict[str, DatasetVersion],
    recipe: Recipe,
    remember: Sequence[Remember],
    home: Home,
    start: Start | None = None,
) -> Pool:
    """Return the rows of `learn.train` and, where a choice of the recipe uses them, of the remembered `train` datasets.

    With `self` among the examples the answers to be learned become the start model's own where its judge accepts them
    (`start` is the version that `model` still is). Raises `BadInput` when a remembered task names a head that the model
    does not have.
    """
    found = {"": rows.read(home, datasets["learn.train"])}
    heads = {"": recipe.head}
    log: dict[str, Any] | None = None
    if "self" in recipe.examples:
        assert start is not None
        found[""], log = _own_words(start, model, found[""], recipe, home)
    if _uses_remembered(recipe):
        for task in remember:
            if task.train is not None:
                found[task.name] = rows.read(home, datasets[f"remember.{task.name}.train"])
                heads[task.name] = task.head or recipe.head
    if model.generates:
        return replace(_of_answers(model, found, recipe.training.max_length), targets=log)
    examples = [one for task, own in found.items() for one in _examples(model, own, heads[task], task)]
    tokens = inference.encode(model, [example.text for example in examples], recipe.training.max_length)
    return Pool(tuple(examples), tuple(tokens))


def _own_words(
    start: Start, model: Model, found: list[rows.Row], recipe: Recipe, home: Home
) -> tuple[list[rows.Row], dict[str, Any]]:
    """Return the rows with the answers that S3FT learns, and where these come from."""
    from holdfast.generation import greedy, targets

    module, options = choices.load("examples", "self"), choices.options("examples", "self", recipe.examples["self"])
    how = greedy.Settings(max_new_tokens=options.max_new_tokens, precision=recipe.training.precision)
    settings = targets.Settings(options.arm, options.paraphrase, how, recipe.training.max_length)
    made = targets.build(start, model, found, module.judge(options, recipe.metric), settings, home)
    return made.rows, made.log


def _of_answers(model: Model, found: dict[str, list[rows.Row]], max_length: int) -> Pool:
    encoder = encoding.Encoder(model.tokenizer, max_length)
    examples = [Example(row["prompt"], "", 0, task) for task, own in found.items() for row in own]
    encoded = [encoder.pair(row["prompt"], row["answer"], n) for own in found.values() for n, row in enumerate(own, 1)]
    tokens = ({"input_ids": [*one.input_ids], "labels": [*one.labels]} for one in encoded)
    return Pool(tuple(examples), tuple(tokens))


def _examples(model: Model, found: list[dict[str, Any]], head: str, task: str) -> list[Example]:
    if head not in model.heads:
        raise BadInput(
            f"the remembered task `{task}` is scored by the head `{head}`, which the start model does not have",
            key="remember",
            expected=f"one of {', '.join(model.heads)}",
        )
    ids = rows.label_ids(found, model.heads[head].labels)
    return [Example(row["text"], head, label, task) for row, label in zip(found, ids, strict=True)]


def _uses_remembered(recipe: Recipe) -> bool:
    if any(getattr(choices.load("examples", name), "USES_REMEMBERED", False) for name in recipe.examples):
        return True
    for name, values in recipe.anchors.items():
        needs: Callable[[Any], bool] | None = getattr(choices.load("anchors", name), "needs_remembered", None)
        if needs is not None and needs(choices.options("anchors", name, values)):
            return True
    return False
