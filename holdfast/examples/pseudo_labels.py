"""Self-supervised integration: the model's own confident labels of unlabelled texts, beside the rows to be learned.

pseudo-labels: 0.9
pseudo-labels: {threshold: 0.9, weight: 1.0, batch: 8, refresh: never}

Every text of `learn.unlabelled` gets the label that the start model gives it (Lee 2013, "Pseudo-Label"), or the model
itself as it was at the last refresh. A text is learned from only where that label's probability reaches the threshold;
what is masked still counts in the mean, so that a few confident texts do not weigh as much as many (FixMatch, Sohn et
al. 2020, arXiv 2001.07685, without its augmentation). That S3FT's wider reading means this is inferred.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from holdfast import choices
from holdfast.examples import _texts

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.anchors._origin import Anchor, Origin
    from holdfast.models import Model
    from holdfast.training.forward import Forward

SHORTHAND = "threshold"
USES_UNLABELLED = True
_PURPOSE = 5


class Options(choices.Options):
    """The probability from which a label is believed, the `weight` of the loss, and how many texts each update reads.

    `refresh: never` keeps the start model's labels; with a number the texts are labelled anew by the model as it is
    before that many updates each, which costs a pass over all of them.
    """

    threshold: float = Field(0.9, gt=0, lt=1)
    weight: float = Field(1.0, gt=0)
    batch: int = Field(8, ge=1)
    refresh: Annotated[int, Field(ge=1)] | Literal["never"] = "never"


def draw(tasks: Sequence[str], epoch: int, seed: int, options: Options) -> list[int]:
    """Return the positions of the rows to be learned; the unlabelled texts come in batches of their own."""
    return _texts.gold(tasks)


class _Labelled:
    """Weight / batch times the sum of -log p(label) over the step's texts whose label is believed."""

    def __init__(self, origin: Origin, options: Options) -> None:
        from holdfast import inference
        from holdfast.tuners import injected

        self.texts, self.options, self.seed = origin.unlabelled, options, origin.seed
        self.max_length, self.precision = origin.max_length, origin.precision
        self.encoded = inference.encode(origin.model, self.texts, self.max_length)
        with injected.absent(origin.model.encoder):
            known = self._label(origin.model, 0)
        self.state: dict[str, Tensor] = known if options.refresh == "never" else {}
        self.running: dict[str, Tensor] = {} if options.refresh == "never" else known

    def __call__(self, batch: Forward) -> Tensor:
        import torch

        from holdfast import inference

        model, every = batch.model, self.options.refresh
        if every != "never" and batch.step % every == 0 and batch.step != int(self.running["step"]):
            self.running.update(self._label(model, batch.step))
        known = self.state or self.running
        drawn = _texts.draw(len(self.texts), self.options.batch, _texts.generator(self.seed, batch.step, _PURPOSE))
        believed = [i for i in drawn if float(known["probability"][i]) >= self.options.threshold]
        if not believed:
            return torch.zeros((), device=model.network.device)
        inputs = model.tokenizer.pad([self.encoded[i] for i in believed], return_tensors="pt").to(model.network.device)
        with inference.autocast(self.precision):
            logits = model.network(**inputs).logits.float()
        labels = known["label"][believed].to(logits.device)
        total = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
        return self.options.weight * total / len(drawn)

    def _label(self, model: Model, step: int) -> dict[str, Tensor]:
        """Return every text's most probable label and its probability by the head in place, and the step."""
        import torch

        from holdfast import inference

        logits = inference.logits(model, self.texts, max_length=self.max_length, precision=self.precision)
        probability, label = torch.from_numpy(logits).float().softmax(-1).max(-1)
        return {"label": label, "probability": probability, "step": torch.tensor(step)}


def auxiliary(origin: Origin, options: Options) -> Anchor:
    """Return the loss on the texts that the model labels with confidence."""
    return _Labelled(origin, options)
