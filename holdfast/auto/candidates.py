"""Families of selections that mean something to a person, and their order by the importances.

Which part of a network should move depends on the change: low layers where the inputs changed, high ones where the
meaning of the labels did (Lee et al. 2022, "Surgical fine-tuning", arXiv 2210.11466, measured for images). The families
follow that finding; where each begins is ours. The score is ours too. With the shares that a selection holds of all
weights (w), of the task's importance (t) and of the general importance (g), both summed over weights,

    score = t / sqrt(g w)

the geometric mean of t / g (what the task wants, over what is to be kept) and t / w (how little has to move for it).
Moving everything scores 1. Where nothing general was measured g is w. It only orders candidates for the probe.

What it cannot say is where the change lies: Fisher information gathers near the output whatever changed (on MiniLM the
pooler, 0.6% of the weights, held 45% of it for NusaX Indonesian, and `low` ranked last). So both ends are always tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast import anatomy
from holdfast.errors import BadInput
from holdfast.selection import Selection

if TYPE_CHECKING:
    from holdfast.importance.read import Importance, Levels
    from holdfast.models import Model

FAMILIES = ("low", "middle", "high", "attention", "norms", "feed-forward", "block", "full")
ENDS = ("low", "high")
LEAST_TASK = 1 / 3  # of the task's importance, that the block found holds
_SMALLEST = 1e-12


@dataclass(frozen=True)
class Candidate:
    """A selection of whole tensors under the family's name, in words (`parts`), with its shares and its score."""

    family: str
    parts: tuple[str, ...]
    names: frozenset[str]
    weights: int
    share: float
    task: float
    general: float | None
    score: float

    @property
    def selection(self) -> Selection:
        """What moves, as the selection that later stages read."""
        return Selection(whole=self.names, parts=(f"{self.family} (chosen by auto)", *self.parts))

    def document(self) -> dict[str, Any]:
        """Return everything but the tensors' names, JSON-able."""
        importance = {"task": self.task, "general": self.general, "score": self.score}
        found = {"family": self.family, "parts": list(self.parts), "weights": self.weights, "share": self.share}
        return {**found, "importance": {name: _rounded(value) for name, value in importance.items()}}


def ranked(model: Model, importance: Importance, families: tuple[str, ...] = FAMILIES) -> list[Candidate]:
    """Return the candidates of `families` by falling score, equal ones with fewer weights first.

    Families that come to the same tensors as an earlier one, or to none, are left out, so is what moves everything
    under another name than `full`. Raises `BadInput` for an architecture that `anatomy` does not know.
    """
    measured = _Measured(model, importance)
    found: dict[frozenset[str], Candidate] = {}
    for family in (name for name in FAMILIES if name in families):
        parts, names = _block(measured) if family == "block" else _FINDERS[family](model)
        everything = len(names) == len(measured.sizes)
        if names and names not in found and everything == (family == "full"):
            found[names] = measured.candidate(family, parts, names)
    return sorted(found.values(), key=lambda one: (-one.score, one.weights, one.family))


def under(candidates: list[Candidate], share: float) -> list[Candidate]:
    """Return those that move at most `share` of the encoder's weights; raise `BadInput` where there are none."""
    kept = [one for one in candidates if one.share <= share]
    if not kept:
        least = min(candidates, key=lambda one: one.share)
        raise BadInput(
            f"no candidate moves at most {100 * share:g}% of the encoder's weights",
            key="parameters.auto.share",
            expected=f"at least {least.share:.4f}, the share of `{least.family}`",
        )
    return kept


def shortlist(candidates: list[Candidate], most: int) -> list[Candidate]:
    """Return at most `most` of ranked candidates, in their order: both `ENDS`, then the best of the rest."""
    ends = [one for one in candidates if one.family in ENDS][:most]
    rest = [one for one in candidates if one.family not in ENDS][: most - len(ends)]
    return [one for one in candidates if one in ends or one in rest]


class _Measured:
    """The model's tensors with their sizes and how much importance each holds."""

    def __init__(self, model: Model, importance: Importance) -> None:
        self.model = model
        self.sizes = {name: parameter.numel() for name, parameter in model.encoder_parameters().items()}
        self.task = _masses(importance.task, self.sizes)
        self.general = _masses(importance.general, self.sizes) if importance.general else None

    def candidate(self, family: str, parts: tuple[str, ...], names: frozenset[str]) -> Candidate:
        weights = sum(self.sizes[name] for name in names)
        share, task = weights / sum(self.sizes.values()), _held(self.task, names)
        general = _held(self.general, names) if self.general else None
        below = (share if general is None else general) * share
        return Candidate(family, parts, names, weights, share, task, general, task / max(below, _SMALLEST) ** 0.5)


def _masses(levels: Levels, sizes: dict[str, int]) -> dict[str, float]:
    """Return the importance summed over each tensor; `levels` holds means."""
    return {name: levels["tensor"][name] * size for name, size in sizes.items()}


def _held(masses: dict[str, float], names: frozenset[str]) -> float:
    """Return the share of all importance that some tensors hold; 0 where there is none at all."""
    total = sum(masses.values())
    return sum(masses[name] for name in sorted(names)) / total if total > 0 else 0.0


def _block(measured: _Measured) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the run of neighbouring parts with the best score of those that hold `LEAST_TASK` of the task's."""
    parts = _parts(measured.model)
    order = [part for part in ("embeddings", *map(str, range(_depth(measured.model))), "pooler") if part in parts]
    runs = [order[i:j] for i in range(len(order)) for j in range(i + 1, len(order) + 1)]
    tried = [
        measured.candidate("block", tuple(_word(part) for part in run), frozenset(n for p in run for n in parts[p]))
        for run in runs
        if len(run) < len(order)
    ]
    enough = [one for one in tried if one.task >= LEAST_TASK]
    if not enough:
        return (), frozenset()
    best = max(enough, key=lambda one: (one.score, -one.weights))
    return best.parts, best.names


Found = tuple[tuple[str, ...], frozenset[str]]


def _low(model: Model) -> Found:
    """The embeddings and the first sixth of the layers, at least one."""
    return _of_parts(model, ["embeddings", *map(str, range(max(1, _depth(model) // 6)))])


def _middle(model: Model) -> Found:
    """The middle third of the layers, where there are at least three."""
    depth = _depth(model)
    third = max(1, round(depth / 3))
    first = (depth - third + 1) // 2
    return _of_parts(model, [str(i) for i in range(first, first + third)] if depth >= 3 else [])


def _high(model: Model) -> Found:
    """The top third of the layers, at least one, and the pooler."""
    depth = _depth(model)
    return _of_parts(model, [*(str(i) for i in range(depth - max(1, round(depth / 3)), depth)), "pooler"])


def _attention(model: Model) -> Found:
    """Query, key, value and output projections of every layer, and every layer norm."""
    row = anatomy.family(model)
    inside = _modules(model, (row.query, row.key, row.value, row.output))
    return ("all attention", "all layer norms"), inside | frozenset(anatomy.layer_norms(model))


def _norms(model: Model) -> Found:
    return ("all layer norms",), frozenset(anatomy.layer_norms(model))


def _feed_forward(model: Model) -> Found:
    return ("all feed-forward",), _modules(model, anatomy.family(model).mlp)


def _full(model: Model) -> Found:
    return ("everything",), frozenset(model.encoder_parameters())


_FINDERS: dict[str, Any] = {
    "low": _low,
    "middle": _middle,
    "high": _high,
    "attention": _attention,
    "norms": _norms,
    "feed-forward": _feed_forward,
    "full": _full,
}


def _of_parts(model: Model, wanted: list[str]) -> Found:
    parts = _parts(model)
    there = [part for part in wanted if part in parts]
    return tuple(_word(part) for part in there), frozenset(name for part in there for name in parts[part])


def _word(part: str) -> str:
    return f"layer {part}" if part.isdigit() else part


def _parts(model: Model) -> dict[str, list[str]]:
    """Return {a layer's number, `embeddings`, `pooler` or `rest`: its tensors}."""
    parts: dict[str, list[str]] = {}
    for name in model.encoder_parameters():
        parts.setdefault(anatomy.part(model, name), []).append(name)
    return parts


def _depth(model: Model) -> int:
    return len(anatomy.layers(model))


def _modules(model: Model, inside: tuple[str, ...]) -> frozenset[str]:
    """Return the tensors of the modules that every layer has under one of these names."""
    stems = {f"{layer}.{module}" for layer in anatomy.layers(model) for module in inside}
    return frozenset(name for name in model.encoder_parameters() if name.rpartition(".")[0] in stems)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
