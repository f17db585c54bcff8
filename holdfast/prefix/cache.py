"""What the frozen layers of a start model give for rows: made once, kept below the home, reused by epochs and arms."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast import closures, digests, inference, progress
from holdfast.generation import encoding
from holdfast.prefix import plan, shards, splice

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.home import Home
    from holdfast.models import Model
    from holdfast.prefix.shards import States
    from holdfast.records import Start
    from holdfast.spec import Training
    from holdfast.training.packing import Packing

Tokens = dict[str, list[int]]
_BATCH = 32


@dataclass(frozen=True)
class Kept:
    """Rows whose states at the cut are known; numbers of rows are those of the sequence that they were made for."""

    model: Model
    cut: int
    states: States

    def entering(
        self, rows: Sequence[int], tokens: int, packing: Packing | None = None
    ) -> AbstractContextManager[None]:
        """Have the network begin at the cut with these rows, padded to so many tokens as their ids are, or packed."""
        side = "right" if self.model.generates else self.model.tokenizer.padding_side
        states = self.states.padded(rows, tokens, side).to(self.model.network.device)
        return splice.entered(self.model, self.cut, packing.pack(states) if packing else states)


class Prefix:
    """The layers of a start model below `cut`, which do not move.

    States are kept in bf16 where the forward passes run in it, else in fp32; they enter the layers above in fp32, as
    they would have without. The key names everything that they depend on: start model, token ids (what the tokenizer
    made of the data), cut, dtype, the settings of the machine, code and packages.
    """

    def __init__(
        self, model: Model, start: Start, cut: int, training: Training, machine: dict[str, Any], home: Home
    ) -> None:
        self.model, self.cut, self.training = model, cut, training
        self.root = home.cache / "prefix"
        self.bf16 = plan.computes_bf16(training.precision)
        self._key = {
            "model": start.digest,
            "base": start.base.sha256,
            "cut": cut,
            "dtype": "bf16" if self.bf16 else "fp32",
            "machine": machine,
            "code": closures.digest([__name__, "holdfast.models"]),
            "packages": closures.package_versions(),
        }
        self._known: dict[str, States] = {}

    def rows(self, tokens: Sequence[Tokens]) -> Kept:
        """Return what is known of rows of token ids, after making it where it is not on disk."""
        key = {
            **self._key,
            "tokens": digests.of_json([{name: ids for name, ids in row.items() if name != "labels"} for row in tokens]),
        }
        name = digests.of_json(key)
        if name not in self._known:
            self._known[name] = shards.read(self.root, key) or self._made(tokens, key)
        return Kept(self.model, self.cut, self._known[name])

    def _made(self, tokens: Sequence[Tokens], key: dict[str, Any]) -> States:
        needed = sum(len(row["input_ids"]) for row in tokens) * plan.width(self.model) * (2 if self.bf16 else 4)
        shards.make_room(self.root, needed, plan.MOST)
        shards.write(self.root, key, self._run(tokens), len(tokens))
        made = shards.read(self.root, key)
        assert made is not None
        return made

    def _run(self, tokens: Sequence[Tokens]) -> Iterator[tuple[int, Tensor]]:
        """Give (row, its states [tokens, hidden]), rows of similar length together, the longest first."""
        import torch

        lengths, begun, done = [len(row["input_ids"]) for row in tokens], time.perf_counter(), 0
        dtype = torch.bfloat16 if self.bf16 else torch.float32
        network, precision = self.model.network, self.training.precision
        with inference.cast_once(network, precision):
            for rows in inference.batches_by_length(lengths, _BATCH):
                inputs = _padded(self.model, [tokens[row] for row in rows])
                with inference.evaluating(network), torch.no_grad(), inference.autocast(precision):
                    states = splice.below(self.model, self.cut, inputs).to(dtype).cpu()
                begins = inputs["attention_mask"].argmax(1).tolist()
                for row, own, begin in zip(rows, states, begins, strict=True):
                    yield row, own[begin : begin + lengths[row]].clone()
                done += sum(lengths[row] for row in rows)
                figures = self._estimate(time.perf_counter() - begun, done, lengths)
                progress.report("frozen layers", done, sum(lengths), figures)

    def _estimate(self, seconds: float, done: int, lengths: Sequence[int]) -> dict[str, float]:
        """Return what making takes and saves in seconds, judged by the tokens so far, and its size."""
        whole = seconds * sum(lengths) / done
        size = sum(lengths) * plan.width(self.model) * (2 if self.bf16 else 4)
        return {"seconds": whole, "saves": whole * max(0.0, self.training.epochs - 1), "MB": size / 1e6}


def _padded(model: Model, tokens: Sequence[Tokens]) -> dict[str, Tensor]:
    """Return inputs of the bare network on its device."""
    if model.generates:
        made = encoding.inputs([row["input_ids"] for row in tokens], multiple=inference.MULTIPLE)
    else:
        made = inference.pad(model, tokens)
    return {name: value.to(model.network.device) for name, value in made.items()}
