"""Models in memory: a transformers sequence classifier whose heads can be exchanged, or a decoder without heads.

The network is a plain `AutoModelForSequenceClassification`. Its *encoder* is everything inside `base_model`; a *head*
is every parameter outside it (for BERT: `classifier.weight` and `classifier.bias`), with the labels it speaks. One
network can hold several named heads; `Model.use_head` puts one in place, without copying. Of a decoder (a plain
`AutoModelForCausalLM`) everything counts as the encoder, its output layer too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from holdfast import bases, memory
from holdfast.errors import BadInput
from holdfast.records import BaseRef, HeadInfo, Start

if TYPE_CHECKING:
    from torch import nn

    from holdfast.home import Home


@dataclass
class Head:
    """A classification head: labels in the order of its logits, and its parameters by their names in the network."""

    labels: tuple[str, ...]
    parameters: dict[str, nn.Parameter]


@dataclass
class Model:
    """A network with its tokenizer and heads; `head` names the one in place, `base` what the encoder was made of.

    `generates` says that it is a decoder.
    """

    network: Any
    tokenizer: Any
    heads: dict[str, Head] = field(default_factory=dict)
    head: str = ""
    base: BaseRef | None = None
    generates: bool = False

    @property
    def encoder(self) -> Any:
        """The bare encoder inside the network, the whole of a decoder; its parameters' names lack `encoder_prefix`."""
        return self.network if self.generates else self.network.base_model

    @property
    def encoder_prefix(self) -> str:
        """The prefix of the encoder's parameter names, such as `bert.`; none for a decoder."""
        return "" if self.generates else self.stem

    @property
    def stem(self) -> str:
        """The prefix of the names of layers and embeddings, such as `bert.` or `model.`."""
        return f"{self.network.base_model_prefix}."

    def encoder_parameters(self) -> dict[str, nn.Parameter]:
        """Return the encoder's parameters by their full names."""
        return {n: p for n, p in self.network.named_parameters() if n.startswith(self.encoder_prefix)}

    def head_parameters(self) -> dict[str, nn.Parameter]:
        """Return the parameters of the head in place by their full names."""
        return {n: p for n, p in self.network.named_parameters() if not n.startswith(self.encoder_prefix)}

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the head in place."""
        return self.heads[self.head].labels

    def use_head(self, name: str) -> None:
        """Put a head in place (its very parameters, not copies). Raises `BadInput` when there is none of that name."""
        if name not in self.heads:
            raise BadInput(
                f"the model has no head named `{name}`", expected=f"one of {', '.join(self.heads) or 'none'}"
            )
        head = self.heads[name]
        for full_name, parameter in head.parameters.items():
            parameter.data = parameter.data.to(self.network.device)
            _assign(self.network, full_name, parameter)
        config = self.network.config
        config.num_labels = len(head.labels)
        config.id2label = dict(enumerate(head.labels))
        config.label2id = {label: i for i, label in enumerate(head.labels)}
        self.network.num_labels = len(head.labels)
        self.head = name

    @contextmanager
    def using(self, name: str) -> Iterator[None]:
        """Have a head in place while the context lasts; afterwards the one before is."""
        before = self.head
        if name != before:
            self.use_head(name)
        try:
            yield
        finally:
            if name != before:
                self.use_head(before)

    def add_head(self, name: str, labels: tuple[str, ...], seed: int) -> None:
        """Put a new head in place, its weights small and drawn from `seed` (matrices normal, vectors zero)."""
        self.heads[name] = Head(labels, _fresh_head(self.network, self.head_parameters(), len(labels), seed))
        self.use_head(name)


def _assign(network: nn.Module, full_name: str, parameter: nn.Parameter) -> None:
    path, _, leaf = full_name.rpartition(".")
    module = network.get_submodule(path)
    setattr(module, leaf, parameter)
    if leaf == "weight" and hasattr(module, "out_features"):
        module.out_features = parameter.shape[0]


def _fresh_head(network: Any, like: dict[str, nn.Parameter], labels: int, seed: int) -> dict[str, nn.Parameter]:
    """Return new head parameters shaped like `like`, with the output size (its `num_labels`) replaced by `labels`."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    deviation = getattr(network.config, "initializer_range", 0.02)
    old, fresh = network.config.num_labels, {}
    for name, parameter in like.items():
        last = name.rsplit(".", 2)[-2] in {"classifier", "out_proj", "score"} and parameter.shape[0] == old
        shape = (labels, *parameter.shape[1:]) if last else tuple(parameter.shape)
        value = torch.zeros(shape)
        if len(shape) > 1:
            value.normal_(0.0, deviation, generator=generator)
        fresh[name] = torch.nn.Parameter(value)
    return fresh


def load(start: Start, home: Home) -> Model:
    """Return the start model in fp32 on the processor, in eval mode, with every head it has (none for a bare base).

    It is a decoder where the start model's task is generation. Raises `Corrupt` when the base's or the adapter's bytes
    are not those of the reference.
    """
    model = load_base(start)
    if start.adapter is not None:
        from holdfast import adapters

        adapters.apply(model, home.store.open(start.adapter))
    return model


def load_base(start: Start) -> Model:
    """Return what a start model was made of, without any change, as its task asks for: a classifier or a decoder."""
    memory.keep()
    folder = bases.locate(start.base)
    tokenizer = bases.tokenizer(folder)
    if start.task == "generation":
        from holdfast.generation import decoders

        return Model(decoders.network(folder), tokenizer, base=start.base, generates=True)
    return Model(bases.network(folder), tokenizer, base=start.base)


def load_with_head(start: Start, home: Home, head: str, labels: tuple[str, ...], seed: int) -> Model:
    """Return the start model with `head` in place: the one it has when the labels match, else a new one.

    A decoder is returned as it is. Raises `BadInput` when the model has a head of that name with other labels.
    """
    model = load(start, home)
    if model.generates:
        return model
    known: HeadInfo | None = start.heads.get(head)
    if known is None:
        model.add_head(head, labels, seed)
        return model
    if set(known.labels) != set(labels):
        raise BadInput(
            f"the start model's head `{head}` has the labels {', '.join(known.labels)}, "
            f"the data has {', '.join(labels)}",
            key="learn.head",
            remedy="Give the head another name to make a new one.",
        )
    model.use_head(head)
    return model
