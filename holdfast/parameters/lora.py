"""Low-rank matrices beside frozen ones move: LoRA through PEFT (Hu et al. 2021) and four of its relatives.

    lora: 8
    lora: {r: 8, alpha: 16, layers: [4, 5], targets: [query, value]}
    lora: {kind: dora, targets: [mlp]}
    lora: {share: 0.06}                               as many weights as another choice moves
    lora: {weights: 1390000}

W is trained as W + s B A, s = alpha / r, and `kind` says what A and B are:

`lora`   A random, B = 0.
`dora`   W's direction and size apart (arXiv 2402.09353): m (W + s B A) / |W + s B A| by rows of W, m = |W| at first.
`pissa`  B A begins as the r largest singular directions of W, which W then lacks (arXiv 2404.02948).
`corda`  B A begins as the r directions of W that inputs of remembered texts use least (arXiv 2406.05223, the
         knowledge-preserving mode), those learned from where no remembered task has training rows: see
         `holdfast.tuners.start`. On which texts is inferred; the paper samples question answering for world knowledge.
`osf`    W's singular directions but the largest share `keep` of them move, gradients kept orthogonal to those that stay
         (arXiv 2504.07097). Adam's steps, which scale every number by itself, are not quite. Kept as new weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from holdfast import anatomy, choices, selection
from holdfast.errors import BadInput
from holdfast.parameters import _budget, _targets
from holdfast.selection import Selection

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.importance.read import Importance
    from holdfast.models import Model
    from holdfast.training.job import Given

SHORTHAND = "r"
ADDS = "low-rank weights"
_KEY = "parameters.lora"
_R, _ALPHA, _DROPOUT, _KEEP = 8, 16.0, 0.0, 0.5

BELOW = "the layers below the lowest of `layers`; nothing where that is left out"


class Options(choices.Options):
    """Rank `r` (default 8), scale `alpha` / r, dropout before the matrices, `targets` (the last parts of linear
    modules' names, or the words `attention` and `mlp`; default query and value) and the `layers` in which they are
    adapted (negative from the top; default all). `osf` reads `keep` instead of r, alpha and dropout (default 0.5).

    Instead of r, a budget: the rank is the largest whose numbers are at most `weights`, or at most the `share` of the
    encoder's own weights; 1 where not even that is. With a budget r is None.
    """

    kind: Literal["lora", "dora", "pissa", "corda", "osf"] = "lora"
    r: int | None = Field(None, ge=1)
    weights: int | None = Field(None, ge=1)
    share: float | None = Field(None, gt=0, lt=1)
    alpha: float = Field(_ALPHA, gt=0)
    dropout: float = Field(_DROPOUT, ge=0, lt=1)
    targets: tuple[str, ...] = ()
    layers: tuple[int, ...] = ()
    keep: float | None = Field(None, gt=0, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _rank_without_a_budget(cls, values: dict[str, Any]) -> dict[str, Any]:
        if all(values.get(key) is None for key in ("r", "weights", "share")):
            return {**values, "r": _R}
        return values

    @model_validator(mode="after")
    def _reads(self) -> Options:
        given = [key for key in ("r", "weights", "share") if getattr(self, key) is not None]
        if self.kind == "osf" and given != ["r"]:
            raise ValueError("`osf` has no rank to choose by a budget: what moves is all that `keep` leaves")
        if len(given) > 1:
            raise ValueError(f"give one of r, weights and share, not {' and '.join(given)}: each sets the rank")
        if self.kind == "osf" and (self.r, self.alpha, self.dropout) != (_R, _ALPHA, _DROPOUT):
            raise ValueError("`osf` does not read r, alpha and dropout: what moves is all that `keep` leaves")
        if self.kind != "osf" and self.keep is not None:
            raise ValueError(f"`keep` is read by `osf` alone, not by `{self.kind}`")
        return self


def learns(options: Options) -> bool:
    """Say whether data must be seen before anything can be selected."""
    return options.kind == "corda"


def select(model: Model, importance: Importance | None, options: Options) -> Selection:
    """Return the arguments of a PEFT configuration with every adapted module spelt out.

    Spelling them out avoids `layers_to_transform`, which cannot go with a regex of targets. Works for any
    architecture when `targets` are given. Raises `BadInput` with near misses when a target or a layer matches nothing,
    and where a rank is larger than a matrix.
    """
    modules = _targets.chosen(model, options.targets, options.layers, _KEY)
    options, notes = _with_rank(model, modules, options)
    if options.kind == "pissa":
        from holdfast.tuners import start

        weights = _matrices(model, modules)
        _fits(weights, options)
        pairs = {n: start.pissa(w, _rank(options), _scale(options)) for n, w in weights.items()}
        return _selection(options, modules, pairs, _targets.transposed(model, modules), notes)
    layout = _targets.transposed(model, modules)
    if layout and options.kind == "osf":
        what = f"`osf` takes weights apart that are kept as [out, in], and `{modules[0]}` keeps its own as [in, out]"
        raise BadInput(what, key=f"{_KEY}.kind", remedy="Choose another kind.")
    return _selection(options, modules, {}, layout, notes)


def learn(given: Given, model: Model, importance: Importance | None, options: Options) -> Selection:
    """Return what `select` does for `corda`, whose matrices depend on the inputs that the modules see."""
    from holdfast.importance import covariance
    from holdfast.tuners import start

    modules = _targets.chosen(model, options.targets, options.layers, _KEY)
    options, notes = _with_rank(model, modules, options)
    weights = {name: weight.cpu() for name, weight in _matrices(model, modules).items()}
    _fits(weights, options)
    seen, told = covariance.of_inputs(given, model, modules)
    pairs = {n: start.corda(w, seen[n], _rank(options), _scale(options)) for n, w in weights.items()}
    return _selection(options, modules, pairs, _targets.transposed(model, modules), (*notes, told))


def _matrices(model: Model, modules: list[str]) -> dict[str, Tensor]:
    """Return the modules' weights as [out, in]."""
    maps = {name: model.encoder.get_submodule(name) for name in modules}
    weights = {name: module.weight.detach() for name, module in maps.items()}
    return {name: w.T if anatomy.is_transposed(maps[name]) else w for name, w in weights.items()}


def _with_rank(model: Model, modules: list[str], options: Options) -> tuple[Options, tuple[str, ...]]:
    """Return the options with the rank that their budget pays for, and a note that tells it; as they are without."""
    if options.r is not None:
        return options, ()
    key = "share" if options.weights is None else "weights"
    budget = options.weights or int((options.share or 0) * selection.total(model))
    rank, note = _budget.rank(model, modules, _arguments(options, 1), budget, f"{_KEY}.{key}")
    return options.model_copy(update={"r": rank}), (note,)


def _rank(options: Options) -> int:
    assert options.r is not None
    return options.r


def _scale(options: Options) -> float:
    return options.alpha / _rank(options)


def _fits(weights: dict[str, Tensor], options: Options) -> None:
    most, name = min((min(weight.shape), name) for name, weight in weights.items())
    if _rank(options) > most:
        raise BadInput(f"`{name}` has rank {most} at most", key=f"{_KEY}.r", expected=f"at most {most}")


def _selection(
    options: Options,
    modules: list[str],
    pairs: dict[str, tuple[Tensor, Tensor]],
    layout: dict[str, bool],
    notes: tuple[str, ...] = (),
) -> Selection:
    added: dict[str, Any] = {"peft_type": "OSF", "effective_rank": options.keep or _KEEP}
    if options.kind != "osf":
        added = _arguments(options, _rank(options))
    first = {f"{name}.lora_A.weight": down for name, (down, _) in pairs.items()}
    first |= {f"{name}.lora_B.weight": up for name, (_, up) in pairs.items()}
    parts = tuple(f"{options.kind} {module}" for module in modules)
    return Selection(added={**added, **layout, "target_modules": modules}, first=first, parts=parts, notes=notes)


def _arguments(options: Options, rank: int) -> dict[str, Any]:
    added = {"r": rank, "lora_alpha": options.alpha, "lora_dropout": options.dropout, "bias": "none"}
    return {**added, "use_dora": True} if options.kind == "dora" else added
