"""Log-probabilities of answers given prompts, in nats, without ever holding the whole vocabulary for all tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast import closures, digests, inference
from holdfast.forgetting import cached
from holdfast.generation import decoders, encoding

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.generation.encoding import Encoded
    from holdfast.home import Home
    from holdfast.models import Model
    from holdfast.records import Start


_STATES, _COLUMNS = 256, 2048  # whose logits a processor's cache holds


@dataclass(frozen=True)
class Compute:
    """How scores are computed: rows per batch, tokens whose logits exist at once, and the precision of forwards."""

    batch: int = 16
    chunk: int = 128
    precision: str = "auto"


def of_tokens(model: Model, encoded: Sequence[Encoded], compute: Compute = Compute()) -> list[np.ndarray]:
    """Return, for every sequence, the log-probability of each of its scored tokens, float64 [scored]."""
    import torch

    found: list[np.ndarray | None] = [None] * len(encoded)
    with torch.inference_mode():
        for rows, states, targets in scored_states(model, encoded, compute):
            parts = of_states(model, states, targets, compute).split([encoded[row].scored for row in rows])
            for row, part in zip(rows, parts, strict=True):
                found[row] = part.numpy()
    return [values for values in found if values is not None]


def kept(start: Start, model: Model, encoded: Sequence[Encoded], compute: Compute, home: Home) -> np.ndarray:
    """Return each sequence's log-probability and number of scored tokens, float64 [sequences, 2], kept in the home."""
    key = {
        "what": "log-probabilities",
        **decoders.identity(start, model),
        "encoded": digests.of_json([[one.input_ids, one.labels] for one in encoded]),
        "compute": [compute.batch, compute.chunk, decoders.computes_bf16(compute.precision)],
        "code": closures.digest([__name__]),
        "packages": closures.package_versions(),
    }

    def make() -> np.ndarray:
        scores = of_tokens(model, encoded, compute)
        both: np.ndarray = np.stack([sums(scores), np.array([len(values) for values in scores], float)], 1)
        return both

    return cached.array(key, make, home)


def of_states(
    model: Model, states: Tensor, targets: Tensor, compute: Compute, predicts: Tensor | None = None
) -> Tensor:
    """Return each target's log-probability under the state that predicts it, float64 [targets] on the processor.

    `predicts` [targets] numbers those states, where one predicts several targets or the order is another.
    """
    import torch

    predicts = torch.arange(len(states), device=states.device) if predicts is None else predicts
    output = model.network.get_output_embeddings()
    linear = inference.linear_map(output, compute.precision) if states.device.type == "cpu" else None
    size = compute.chunk if linear is None else _STATES
    found = torch.empty(len(targets), dtype=torch.float64)
    for first in range(0, len(states), size):
        mine = ((predicts >= first) & (predicts < first + size)).nonzero()[:, 0]
        part, rows, own = states[first : first + size], predicts[mine] - first, targets[mine]
        if linear is None:
            values = log_softmax(model, part, compute)[rows, own]
        else:
            values = _by_columns(part, rows, own, *linear)
        found[mine.cpu()] = values.double().cpu()
    return found


def _by_columns(states: Tensor, rows: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the log-probabilities of targets under states[rows], float32 [targets], by parts of the vocabulary.

    The logits of all of it would go to memory and back for every step of the softmax; those of a part stay in cache.
    """
    import torch

    states, own, sums = states.to(weight.dtype), torch.empty(len(targets)), []
    for first in range(0, len(weight), _COLUMNS):
        columns = slice(first, first + _COLUMNS)
        logits = torch.nn.functional.linear(states, weight[columns], None if bias is None else bias[columns]).float()
        here = ((targets >= first) & (targets < first + _COLUMNS)).nonzero()[:, 0]
        own[here] = logits[rows[here], targets[here] - first]
        sums.append(logits.logsumexp(1))
    return own - torch.stack(sums, 1).logsumexp(1)[rows]


def sums(scores: Sequence[np.ndarray]) -> np.ndarray:
    """Return the log-probability of every sequence: the sum over its tokens, float64 [sequences]."""
    totals: np.ndarray = np.array([values.sum() for values in scores])
    return totals


def means(scores: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean log-probability per token of every sequence (each has at least one), float64 [sequences]."""
    averages: np.ndarray = np.array([values.mean() for values in scores])
    return averages


def nll(scores: Sequence[np.ndarray]) -> float:
    """Return the negative log-likelihood per token over all tokens of all sequences."""
    return float(-np.concatenate(scores).mean())


def scored_states(
    model: Model, encoded: Sequence[Encoded], compute: Compute
) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Yield (rows, states, targets) by batches of similar length: what predicts each scored token, and that token.

    `states` [scored tokens of these rows, hidden] are the last hidden states one place before the `targets`.
    """
    network = model.network
    with inference.evaluating(network), inference.cast_once(network, compute.precision):
        for rows in inference.batches_by_length([len(one.input_ids) for one in encoded], compute.batch):
            inputs = {
                name: t.to(network.device)
                for name, t in encoding.stack([encoded[i] for i in rows], multiple=inference.MULTIPLE).items()
            }
            labels = inputs.pop("labels")[:, 1:]
            with inference.autocast(compute.precision):
                states = network.base_model(**inputs, use_cache=False).last_hidden_state[:, :-1]
            scored = labels != encoding.IGNORED
            yield rows, states[scored], labels[scored]


def log_softmax(model: Model, states: Any, compute: Compute) -> Any:
    """Return the log-probabilities of all tokens from hidden states, float32 [states, vocabulary]."""
    with inference.autocast(compute.precision):
        logits = model.network.get_output_embeddings()(states)
    return logits.float().log_softmax(-1)
