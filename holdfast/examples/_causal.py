"""A decoder's loss on texts: every token is predicted from those before it, by the decoder's own output layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast import inference
from holdfast.examples import _texts
from holdfast.generation import encoding

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.anchors._origin import Origin
    from holdfast.training.forward import Forward

_PURPOSE = 1
_AT_ONCE = 1 << 24  # logits: 64 MiB


class Causal:
    """Weight times the mean of -log p(token | before) over the tokens of a step's texts, cut to `max_length`."""

    def __init__(self, origin: Origin, weight: float, batch: int) -> None:
        encoder = encoding.Encoder(origin.model.tokenizer)
        whole = [encoder.text(text) for text in origin.unlabelled]
        most = origin.max_length
        self.texts = [encoding.Encoded(one.input_ids[:most], one.labels[:most]) for one in whole if one.scored]
        self.weight, self.batch, self.seed, self.precision = weight, batch, origin.seed, origin.precision
        self.state: dict[str, Tensor] = {}

    def __call__(self, batch: Forward) -> Tensor:
        import torch
        from torch.utils.checkpoint import checkpoint

        network = batch.model.network
        drawn = _texts.draw(len(self.texts), self.batch, _texts.generator(self.seed, batch.step, _PURPOSE))
        inputs = {name: t.to(network.device) for name, t in encoding.stack([self.texts[i] for i in drawn]).items()}
        labels = inputs.pop("labels")[:, 1:]
        learned = labels != encoding.IGNORED
        with inference.autocast(self.precision):
            states = network.base_model(**inputs, use_cache=False).last_hidden_state[:, :-1][learned]
        targets, size = labels[learned], max(1, _AT_ONCE // network.config.vocab_size)

        def loss(part: Tensor, target: Tensor) -> Tensor:
            with inference.autocast(self.precision):
                logits = network.get_output_embeddings()(part)
            return torch.nn.functional.cross_entropy(logits.float(), target, reduction="sum")

        pieces = list(zip(states.split(size), targets.split(size), strict=True))
        if len(pieces) == 1:
            return self.weight * loss(*pieces[0]) / len(targets)
        sums = [checkpoint(loss, *piece, use_reentrant=False) for piece in pieces]
        return self.weight * torch.stack(sums).sum() / len(targets)
