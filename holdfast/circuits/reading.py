"""The rows of a task as circuits see them: what is read, and which logits stand for the answers among them.

A classifier reads a text and answers with a label. Of a decoder, one token of the answer stands for it: the network
reads the prompt and the known answer up to there, and the logits of the tokens that occur there are the labels. Where
that is is the same for all rows, counted from the answer's start: the place at which known answers differ most, by the
entropy of its tokens over rows. CT-SFT classifies; for answers in words this is inferred.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from holdfast import inference
from holdfast import rows as datasets
from holdfast.errors import BadInput
from holdfast.generation import encoding

if TYPE_CHECKING:
    from holdfast.decomposition.packed import Encoded
    from holdfast.models import Model
    from holdfast.rows import Row

FEWEST = 4  # rows of an answer's token, for it to be a label
_LABELS, _FAR, _BATCH = 8, 32, 32  # most labels, places of an answer that are looked at, and rows at once


class Texts:
    """Texts and the labels of the head in place; `columns` are the logits that count, None for all."""

    columns: list[int] | None = None

    def __init__(self, model: Model, rows: Sequence[Row], max_length: int) -> None:
        self.model, self.max_length = model, max_length
        self.rows, self.labels, self.names = list(rows), model.labels, list(model.labels)

    def encode(self, rows: Sequence[Row]) -> list[Encoded]:
        """Return what the network reads of rows."""
        return inference.encode(self.model, datasets.texts(rows), self.max_length)

    def targets(self, rows: Sequence[Row]) -> list[int]:
        """Return each row's label as its place in `labels`."""
        return datasets.label_ids(rows, self.labels)

    def right(self, rows: Sequence[Row]) -> list[bool]:
        """Say which rows the network answers right."""
        texts = datasets.texts(rows)
        said = inference.logits(self.model, texts, max_length=self.max_length, precision="fp32").argmax(-1)
        return [a == b for a, b in zip(said.tolist(), self.targets(rows), strict=True)]


class Answers(Texts):
    """Prompts with their answers up to the token that stands for them: rows of `ids`, labelled by that token's number.

    `rows` are those whose token is among the most frequent. Raises `BadInput` where the answers differ at no place.
    """

    def __init__(self, model: Model, rows: Sequence[Row], max_length: int) -> None:
        self.model, self.max_length = model, max_length
        encoder = encoding.Encoder(model.tokenizer, max_length)
        pairs = [encoder.pair(row["prompt"], row["answer"], number) for number, row in enumerate(rows, 1)]
        self.place = _place([[token for token in pair.labels if token != encoding.IGNORED] for pair in pairs])
        counts: Counter[int] = Counter()
        self.rows = []
        for row, pair in zip(rows, pairs, strict=True):
            at = len(pair.input_ids) - pair.scored + self.place
            if at < len(pair.input_ids):
                token = pair.input_ids[at]
                counts[token] += 1
                self.rows.append({"id": row["id"], "ids": list(pair.input_ids[:at]), "label": str(token)})
        self.columns = sorted(token for token, count in counts.most_common(_LABELS) if count >= FEWEST)
        self.labels = tuple(str(token) for token in self.columns)
        self.names = [str(model.tokenizer.decode([token])) for token in self.columns]
        self.rows = [row for row in self.rows if row["label"] in self.labels]

    def encode(self, rows: Sequence[Row]) -> list[Encoded]:
        """Return what the network reads of rows."""
        return [{"input_ids": row["ids"], "attention_mask": [1] * len(row["ids"])} for row in rows]

    def right(self, rows: Sequence[Row]) -> list[bool]:
        """Say at which rows the most probable of all tokens is the answer's."""
        import torch

        found: list[bool] = [False] * len(rows)
        network = self.model.network
        with torch.inference_mode(), inference.evaluating(network):
            for chosen in inference.batches_by_length([len(row["ids"]) for row in rows], _BATCH):
                inputs = encoding.inputs([rows[i]["ids"] for i in chosen])
                logits = network(**{name: value.to(network.device) for name, value in inputs.items()}).logits
                last = inputs["attention_mask"].sum(-1) - 1
                said = logits[torch.arange(len(chosen)), last.to(logits.device)].argmax(-1).tolist()
                for i, token in zip(chosen, said, strict=True):
                    found[i] = str(token) == rows[i]["label"]
        return found


def of(model: Model, rows: Sequence[Row], max_length: int) -> Texts:
    """Return the rows of a task as a model reads them."""
    return (Answers if model.generates else Texts)(model, rows, max_length)


def _place(answers: Sequence[Sequence[int]]) -> int:
    """Return the place, counted from 0, at which the tokens of answers differ most; the first of equals."""
    found = []
    for place in range(min(_FAR, max(map(len, answers), default=0))):
        counts = Counter(answer[place] for answer in answers if len(answer) > place)
        usual = [count for token, count in counts.most_common(_LABELS) if count >= FEWEST]
        if len(usual) > 1:
            total = sum(usual)
            entropy = -sum(count / total * math.log(count / total) for count in usual)
            found.append((-entropy * total / len(answers), place))
    if not found:
        raise BadInput(
            "no circuit: the known answers differ at no place often enough to compare them",
            key="parameters.circuit",
            expected=f"a place of the answer at which two tokens occur at least {FEWEST} times each",
            remedy="Give more rows, or choose `heads` or `layers`.",
        )
    return min(found)[1]
