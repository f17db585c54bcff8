"""Which rows make a batch: grouped by length, drawn from the seed and the epoch alone; a resume repeats them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from holdfast import choices, inference
from holdfast.generation import encoding

if TYPE_CHECKING:
    from holdfast.models import Model
    from holdfast.training.pool import Pool

_GROUP = 8


def draws(chosen: choices.Choices, tasks: Sequence[str], seed: int) -> Callable[[int], list[int]]:
    """Return the function from an epoch (0-based) to its rows: those of every `examples` choice, united.

    A row that two choices draw comes as often as in the choice that draws it more often.
    """
    loaded = [(choices.load("examples", name), choices.options("examples", name, v)) for name, v in chosen.items()]

    def draw(epoch: int) -> list[int]:
        united: Counter[int] = Counter()
        for module, options in loaded:
            united |= Counter(module.draw(tasks, epoch, seed, options))
        return sorted(united.elements())

    return draw


def group(positions: Sequence[int], lengths: Sequence[int], batch: int, seed: tuple[int, int]) -> list[list[int]]:
    """Return `positions` in batches of similar length, in random order.

    Shuffled rows are cut into groups of eight batches, each group is sorted by length and cut into batches, and the
    batches are shuffled. All randomness comes from `seed`.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    shuffled = [positions[i] for i in generator.permutation(len(positions))]
    batches: list[list[int]] = []
    for first in range(0, len(shuffled), _GROUP * batch):
        near = sorted(shuffled[first : first + _GROUP * batch], key=lambda position: -lengths[position])
        batches += [near[i : i + batch] for i in range(0, len(near), batch)]
    return [batches[i] for i in generator.permutation(len(batches))]


class EpochBatches:
    """The batches of the epoch that `epoch` says (0-based), as a batch sampler of torch's `DataLoader`."""

    def __init__(self, draw: Callable[[int], list[int]], lengths: Sequence[int], batch: int, seed: int) -> None:
        self.draw, self.lengths, self.batch, self.seed = draw, lengths, batch, seed
        self.epoch = 0
        self._length = -(-len(draw(0)) // batch)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[list[int]]:
        return iter(group(self.draw(self.epoch), self.lengths, self.batch, (self.seed, self.epoch)))


def parts(inputs: dict[str, Any], count: int) -> list[tuple[dict[str, Any], float]]:
    """Return a batch cut into at most `count` parts of nearly equal size, each with its share of what is learned.

    That is its share of the rows or, where the inputs have `labels`, of the tokens that are learned.
    """
    rows = len(inputs["positions"])
    bounds = [rows * number // count for number in range(count + 1)]
    found = [slice(first, last) for first, last in pairwise(bounds) if last > first]
    weights = [s.stop - s.start for s in found]
    if "labels" in inputs:
        weights = [int((inputs["labels"][s] != encoding.IGNORED).sum()) for s in found]
    cut = [{name: value[s] for name, value in inputs.items()} for s in found]
    return [(part, weight / sum(weights)) for part, weight in zip(cut, weights, strict=True)]


def collate(model: Model, pool: Pool, positions: Sequence[int]) -> dict[str, Any]:
    """Return the rows at `positions` padded to the longest, int64 [rows, tokens] each, with `positions` beside them."""
    import torch

    if model.generates:
        tokens = [pool.tokens[position] for position in positions]
        encoded = [encoding.Encoded(tuple(one["input_ids"]), tuple(one["labels"])) for one in tokens]
        stacked = encoding.stack(encoded, multiple=inference.MULTIPLE)
        return {**stacked, "positions": torch.tensor(list(positions))}
    padded = inference.pad(model, [pool.tokens[position] for position in positions])
    return {**padded, "positions": torch.tensor(list(positions))}
