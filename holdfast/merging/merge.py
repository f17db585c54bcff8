"""Versions of one start model as one: their task vectors combined, their heads too, written as an adapter.

The encoder, and every head that the start model has, is the start's plus the merged task vector (in float64). A head
that only the versions have is the mean of theirs, by weight, where several have it with the same labels (inferred).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from holdfast import adapters, models, selection
from holdfast.errors import BadInput
from holdfast.merging import rules
from holdfast.models import Head
from holdfast.records import Tuned
from holdfast.selection import Selection
from holdfast.training import curve

if TYPE_CHECKING:
    import torch

    from holdfast.home import Home
    from holdfast.models import Model
    from holdfast.records import Merge, Selected, Start

_ENCODER = "encoder"


def check(merge: Merge, origins: Sequence[Start], home: Home) -> None:
    """Raise `BadInput` unless versions can be merged: one start model, one task, changes that are in the weights."""
    first = origins[0]
    for parent, origin in zip(merge.parents, origins, strict=True):
        if (origin.base.sha256, origin.digest) != (first.base.sha256, first.digest):
            what = f"{parent.model} was tuned from {origin.model}, {merge.parents[0].model} from {first.model}"
            raise BadInput(what, expected="versions that were tuned from the same start model")
        if parent.task != merge.parents[0].task:
            raise BadInput(f"{parent.model} was made for {parent.task}, {merge.parents[0].model} was not")
        assert parent.adapter is not None
        kind = adapters.stays_beside(home.store.open(parent.adapter))
        if kind is not None:
            raise BadInput(f"{parent.model} cannot be merged: what {kind.peft_type} adds is no change of the weights")


def merge(wanted: Merge, origin: Start, head: str, home: Home) -> tuple[Tuned, Selected]:
    """Return the merged version of `origin`'s versions as if it had been tuned, and what moved; `head` is in place.

    Raises `BadInput` where a head of one name has several sets of labels, nobody has `head`, or the weights are so
    large that merged numbers, or what the merged model says, are not finite.
    """
    model = models.load(origin, home)
    vectors, tuned = [], []
    begun = _values(model, list(model.heads))
    for parent in wanted.parents:
        other = models.load(parent, home)
        vectors.append({name: value - begun[name] for name, value in _values(other, list(model.heads)).items()})
        tuned.append(other)
    moved = _combined(wanted, vectors)
    _apply(model, {name: begun[name] + moved[name] for name in moved})
    _add_heads(model, tuned, wanted)
    _check_finite(model, wanted)
    if head not in model.heads and not model.generates:
        raise BadInput(f"no version has the head `{head}` to be judged by", expected=f"one of {', '.join(model.heads)}")
    if not model.generates:
        model.use_head(head)
    chosen = _moved(model, models.load(origin, home), origin)
    with home.store.scratch() as scratch:
        adapters.write(model, chosen, origin, home, scratch / "adapter")
        adapter = home.store.put(scratch / "adapter", "adapter")
    made = Tuned(adapter=adapter, curve=curve.put(curve.Curve(), home), steps=0, final_loss=0.0)
    return made, selection.keep(chosen, model, {}, home)


def _combined(wanted: Merge, vectors: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    if wanted.how == "ties":
        return rules.ties(vectors, wanted.weights, wanted.density or 1.0)
    return rules.task_arithmetic(vectors, wanted.weights)


def _values(model: Model, heads: Sequence[str]) -> dict[str, torch.Tensor]:
    """Return the encoder's tensors and those of some heads, float64, as `encoder/NAME` and `HEAD/NAME`."""
    found = {f"{_ENCODER}/{name}": value for name, value in adapters.bare(model).items()}
    for head in heads:
        found |= {f"{head}/{name}": value.detach() for name, value in model.heads[head].parameters.items()}
    return {name: value.double() for name, value in found.items()}


def _apply(model: Model, values: dict[str, torch.Tensor]) -> None:
    import torch

    encoder = adapters.bare(model)
    with torch.no_grad():
        for name, value in values.items():
            head, _, leaf = name.partition("/")
            target = encoder[leaf] if head == _ENCODER else model.heads[head].parameters[leaf]
            target.copy_(value)


def _add_heads(model: Model, tuned: Sequence[Model], wanted: Merge) -> None:
    """Give the model the heads that it lacks."""
    for name in sorted({head for other in tuned for head in other.heads} - set(model.heads)):
        having = [(other.heads[name], w) for other, w in zip(tuned, wanted.weights, strict=True) if name in other.heads]
        if len({head.labels for head, _ in having}) > 1:
            raise BadInput(f"the head `{name}` has other labels in one version than in another")
        total = sum(weight for _, weight in having)
        if len(having) > 1 and not 0 < total < math.inf:
            raise BadInput(f"the weights of the versions with the head `{name}` do not add up to a number above 0")
        shares = [weight / total for _, weight in having] if len(having) > 1 else [1.0]
        model.heads[name] = _mean([head for head, _ in having], shares)


def _check_finite(model: Model, wanted: Merge) -> None:
    import torch

    heads = [value for head in model.heads.values() for value in head.parameters.values()]
    with torch.inference_mode():
        answer = model.encoder(input_ids=torch.zeros(1, 2, dtype=torch.long, device=model.network.device))[0]
    if not all(bool(value.isfinite().all()) for value in [*adapters.bare(model).values(), *heads, answer]):
        weights = ", ".join(f"{weight:g}" for weight in wanted.weights)
        raise BadInput(
            f"merged with the weights {weights}, numbers of the model or of what it says are not finite",
            key="merge.weights",
            expected="smaller weights: 1 adds a version's change once",
        )


def _mean(heads: Sequence[Head], shares: Sequence[float]) -> Head:
    import torch

    parameters = {}
    for leaf, first in heads[0].parameters.items():
        total = torch.zeros_like(first, dtype=torch.float64)
        for head, share in zip(heads, shares, strict=True):
            total += share * head.parameters[leaf].detach().double()
        parameters[leaf] = torch.nn.Parameter(total.float())
    return Head(heads[0].labels, parameters)


def _moved(model: Model, begun: Model, origin: Start) -> Selection:
    """Return what differs between two encoders: whole tensors, or masks where less than half of one does."""
    old, whole, partial = adapters.bare(begun), set(), {}
    for name, value in adapters.bare(model).items():
        changed = value != old[name]
        if 2 * int(changed.sum()) >= changed.numel():
            whole.add(model.encoder_prefix + name)
        elif bool(changed.any()):
            partial[model.encoder_prefix + name] = changed
    part = f"what versions of {origin.model} moved"
    return Selection(whole=frozenset(whole), partial=partial, parts=(part,))
