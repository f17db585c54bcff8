"""Low-rank matrices beside frozen ones move: LoRA through PEFT (Hu et al. 2021) and four of its relatives.

    lora: 8
    lora: {r: 8, alpha: 16, layers: [4, 5], targets: [query, value]}
    lora: {kind: dora, targets: [mlp]}

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

from holdfast import anatomy, choices
from holdfast.errors import BadInput
from holdfast.parameters import _targets
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
    """Rank `r`, scale `alpha` / r, dropout before the matrices, `targets` (the last parts of linear modules' names, or
    the words `attention` and `mlp`; default query and value) and the `layers` in which they are adapted (negative from
    the top; default all). `osf` reads `keep` instead of r, alpha and dropout (default 0.5).
    """

    kind: Literal["lora", "dora", "pissa", "corda", "osf"] = "lora"
    r: int = Field(_R, ge=1)
    alpha: float = Field(_ALPHA, gt=0)
    dropout: float = Field(_DROPOUT, ge=0, lt=1)
    targets: tuple[str, ...] = ()
    layers: tuple[int, ...] = ()
    keep: float | None = Field(None, gt=0, lt=1)

    @model_validator(mode="after")
    def _reads(self) -> Options:
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
    if options.kind == "pissa":
        from holdfast.tuners import start

        weights = _matrices(model, modules)
        _fits(weights, options)
        pairs = {n: start.pissa(w, options.r, _scale(options)) for n, w in weights.items()}
        return _selection(options, modules, pairs, _targets.transposed(model, modules))
    layout = _targets.transposed(model, modules)
    if layout and options.kind == "osf":
        what = f"`osf` takes weights apart that are kept as [out, in], and `{modules[0]}` keeps its own as [in, out]"
        raise BadInput(what, key=f"{_KEY}.kind", remedy="Choose another kind.")
    return _selection(options, modules, {}, layout)


def learn(given: Given, model: Model, importance: Importance | None, options: Options) -> Selection:
    """Return what `select` does for `corda`, whose matrices depend on the inputs that the modules see."""
    from holdfast.importance import covariance
    from holdfast.tuners import start

    modules = _targets.chosen(model, options.targets, options.layers, _KEY)
    weights = {name: weight.cpu() for name, weight in _matrices(model, modules).items()}
    _fits(weights, options)
    seen, told = covariance.of_inputs(given, model, modules)
    pairs = {n: start.corda(w, seen[n], options.r, _scale(options)) for n, w in weights.items()}
    return _selection(options, modules, pairs, _targets.transposed(model, modules), (told,))


def _matrices(model: Model, modules: list[str]) -> dict[str, Tensor]:
    """Return the modules' weights as [out, in]."""
    maps = {name: model.encoder.get_submodule(name) for name in modules}
    weights = {name: module.weight.detach() for name, module in maps.items()}
    return {name: w.T if anatomy.is_transposed(maps[name]) else w for name, w in weights.items()}


def _scale(options: Options) -> float:
    return options.alpha / options.r


def _fits(weights: dict[str, Tensor], options: Options) -> None:
    most, name = min((min(weight.shape), name) for name, weight in weights.items())
    if options.r > most:
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
        added = {"r": options.r, "lora_alpha": options.alpha, "lora_dropout": options.dropout, "bias": "none"}
    if options.kind == "dora":
        added["use_dora"] = True
    first = {f"{name}.lora_A.weight": down for name, (down, _) in pairs.items()}
    first |= {f"{name}.lora_B.weight": up for name, (_, up) in pairs.items()}
    parts = tuple(f"{options.kind} {module}" for module in modules)
    return Selection(added={**added, **layout, "target_modules": modules}, first=first, parts=parts, notes=notes)
