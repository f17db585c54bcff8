"""One batch through the network: the encoder once, then any head on any of the rows, or the output layer on tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

from holdfast import inference, read_position, unpadded
from holdfast.generation import encoding
from holdfast.training import packing, pieces

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.models import Model
    from holdfast.prefix.cache import Kept
    from holdfast.training.packing import Packing
    from holdfast.training.pool import Pool


NUMBERS = 1 << 24  # logits of tokens that exist at once: 64 MiB
_FEW, _ROWS = 1 << 22, 128  # as many as a processor keeps at hand, and rows that make reading the output layer worth it


class Forward:
    """A batch of rows of the pool at one update `step`; `inputs` are padded tensors on the network's device.

    `load(positions)` gives the inputs of other rows. Rows are numbered inside the batch; `positions` maps them to the
    pool. `kept` is what the frozen layers give for rows of the pool, where that is known. `packs` says that rows go
    through the network end to end, those of decoders as `holdfast.training.packing` lays them, those of encoders as
    `holdfast.unpadded` does, where it can.
    """

    def __init__(
        self,
        model: Model,
        pool: Pool,
        inputs: dict[str, Tensor],
        positions: Sequence[int],
        *,
        step: int,
        precision: str,
        load: Callable[[Sequence[int]], dict[str, Tensor]],
        kept: Kept | None = None,
        packs: bool = False,
    ) -> None:
        self.model, self.pool, self.inputs, self.positions = model, pool, inputs, list(positions)
        self.step, self.precision, self.load, self.kept, self.packs = step, precision, load, kept, packs

    @cached_property
    def _encoded(self) -> Any:
        model, tokens = self.model, self._tokens
        with (
            inference.autocast(self.precision),
            read_position.first(model, tokens),
            unpadded.through(model, tokens, self._lowest),
            self._entering(),
        ):
            return model.network.base_model(**self.inputs)

    @property
    def _lowest(self) -> int:
        """The first layer that runs."""
        return self.kept.cut if self.kept else 0

    @cached_property
    def _tokens(self) -> unpadded.Tokens | None:
        """The tokens of the rows where they go through an encoder without padding."""
        if not self.packs:
            return None
        return unpadded.of(self.model, self.inputs["attention_mask"], self._lowest, self.precision)

    def _entering(self) -> AbstractContextManager[None]:
        """Have the network begin at the cut, where what lies below it is known."""
        if self.kept is None:
            return nullcontext()
        return self.kept.entering(self.positions, self.inputs["input_ids"].shape[1], self.packing)

    @property
    def packing(self) -> Packing | None:
        """How the rows are packed, None where they are padded or have no padding."""
        return None

    @property
    def places(self) -> int:
        """How many places go through the network, tokens and padding."""
        own = self._tokens or self.packing
        return own.places if own else self.inputs["input_ids"].numel()

    def rows_by_head(self) -> dict[str, list[int]]:
        """Return {head: the rows of this batch that it scores}."""
        found: dict[str, list[int]] = {}
        for row, position in enumerate(self.positions):
            found.setdefault(self.pool.examples[position].head, []).append(row)
        return found

    def labels(self, head: str, rows: Sequence[int]) -> Tensor:
        """Return the labels of some rows of a head, int64 [rows]."""
        import torch

        found = [self.pool.examples[self.positions[row]].label for row in rows]
        return torch.tensor(found, device=self.model.network.device)

    def parts(self, rows: Sequence[int]) -> list[Sequence[int]]:
        """Return rows in the pieces whose logits exist at once."""
        return [rows]

    def reading(self, rows: Sequence[int]) -> tuple[Tensor, Callable[[Tensor], Tensor]] | None:
        """Return what a fixed output layer reads at some rows, and that layer; None without such a layer."""
        return None

    @property
    def fixed_linear(self) -> pieces.Linear | None:
        """The weight and bias of a fixed linear output layer on a processor; None without such a layer."""
        return None

    def logits(self, head: str, rows: Sequence[int]) -> Tensor:
        """Return a head's logits on some rows, float32 [rows, labels]; the head in place stays in place."""
        with (
            self.model.using(head),
            inference.autocast(self.precision),
            _encoder_gives(self.model.network, _take(self._encoded, rows)),
        ):
            inputs = {name: value[list(rows)] for name, value in self.inputs.items()}
            return self.model.network(**inputs).logits.float()

    def another(self, positions: Sequence[int]) -> Forward:
        """Return a forward pass of other rows of the pool at the same step."""
        return self._of(self.load(positions), positions)

    def again(self) -> Forward:
        """Return another forward pass of the same rows, padded alike."""
        return self._of(self.inputs, self.positions)

    def by(self, model: Model) -> Forward:
        """Return a forward pass of the same rows, padded alike, by another model."""
        return self._of(self.inputs, self.positions, model)

    def _of(self, inputs: dict[str, Tensor], positions: Sequence[int], model: Model | None = None) -> Forward:
        fixed: dict[str, Any] = {"step": self.step, "precision": self.precision, "load": self.load, "packs": self.packs}
        fixed["kept"] = None if model else self.kept
        return type(self)(model or self.model, self.pool, inputs, positions, **fixed)


class TokenForward(Forward):
    """A batch of prompts with their answers, whose rows are the tokens that are learned, under the head ""."""

    @cached_property
    def packing(self) -> Packing | None:
        """How the rows are packed, None where they are padded."""
        return packing.of(self.inputs["attention_mask"]) if self.packs else None

    @cached_property
    def _learned(self) -> Tensor:
        """Which places [rows, tokens - 1] are followed by a token that is learned."""
        learned: Tensor = self.inputs["labels"][:, 1:] != encoding.IGNORED
        return learned

    @cached_property
    def _states(self) -> Tensor:
        """The last hidden states at these places, [learned tokens, hidden]."""
        inputs = {name: value for name, value in self.inputs.items() if name != "labels"}
        if self.packing:
            inputs = {name: self.packing.pack(inputs[name]) for name in ("input_ids", "position_ids")}
        with inference.autocast(self.precision), self._entering():
            states: Tensor = self.model.network.base_model(**inputs, use_cache=False).last_hidden_state
        if self.packing:
            states = self.packing.unpack(states)
        return states[:, :-1][self._learned]

    def rows_by_head(self) -> dict[str, list[int]]:
        """Return all learned tokens under the one head that there is."""
        return {"": list(range(len(self._states)))}

    def labels(self, head: str, rows: Sequence[int]) -> Tensor:
        """Return the tokens that are learned, int64 [rows]."""
        return self.inputs["labels"][:, 1:][self._learned][list(rows)]

    def parts(self, rows: Sequence[int]) -> list[Sequence[int]]:
        """Return rows in pieces of at most `NUMBERS` logits, on a processor of fewer where the output layer is fixed.

        Where that layer moves, every piece adds to all of its gradient, so that few pieces cost less.
        """
        network = self.model.network
        size = max(1, NUMBERS // network.config.vocab_size)
        if network.device.type == "cpu" and self._output_is_fixed:
            size = min(size, max(_ROWS, _FEW // network.config.vocab_size))
        return [rows[first : first + size] for first in range(0, len(rows), size)]

    def logits(self, head: str, rows: Sequence[int]) -> Tensor:
        """Return the logits that predict some of the tokens, float32 [rows, vocabulary]."""
        return self._read(self._states[list(rows)])

    def reading(self, rows: Sequence[int]) -> tuple[Tensor, Callable[[Tensor], Tensor]] | None:
        """Return the states of some tokens and the output layer, None where something of it moves."""
        return (self._states[list(rows)], self._read) if self._output_is_fixed else None

    @property
    def fixed_linear(self) -> pieces.Linear | None:
        """The weight and bias of a fixed linear output layer on a processor; None without such a layer."""
        network = self.model.network
        if network.device.type != "cpu" or not self._output_is_fixed:
            return None
        return inference.linear_map(network.get_output_embeddings(), self.precision)

    @cached_property
    def _output_is_fixed(self) -> bool:
        return not self._read(self._states[:1].detach()).requires_grad

    def _read(self, states: Tensor) -> Tensor:
        with inference.autocast(self.precision):
            logits: Tensor = self.model.network.get_output_embeddings()(states)
        return logits.float()


@contextmanager
def _encoder_gives(network: Any, output: Any) -> Iterator[None]:
    """Have the network's encoder return `output` instead of computing, so that calling the network runs the head."""
    encoder = network.base_model
    encoder.forward = lambda *args, **kwargs: output
    try:
        yield
    finally:
        del encoder.forward


def _take(output: Any, rows: Sequence[int]) -> Any:
    """Return a model output with only some rows of each of its tensors."""
    import torch

    if list(rows) == list(range(len(output.last_hidden_state))):
        return output

    taken = {name: value[list(rows)] for name, value in output.items() if isinstance(value, torch.Tensor)}
    return type(output)(**taken)
