"""What may move: the record of a selection, how it is kept on disk and put on a model, and the `select` stage.

A selection names whole tensors, parts of tensors (boolean masks) and what is added beside frozen ones (low-rank
matrices, say: `holdfast.tuners`). Choices on the `parameters` axis make selections; several are united. The head in
place is always trainable and is counted apart.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from holdfast import anatomy, choices, digests, models, patch
from holdfast.errors import BadInput
from holdfast.importance import read
from holdfast.records import Selected
from holdfast.tuners import kinds

if TYPE_CHECKING:
    import torch
    from torch import nn

    from holdfast.choices import Choices
    from holdfast.home import Home
    from holdfast.importance.read import Importance
    from holdfast.models import Model
    from holdfast.records import Assessed, Start
    from holdfast.training.job import Given

_FILE, _MASKS, _FIRST, _BEGUN = "selection.json", "masks.safetensors", "first.safetensors", "begun.safetensors"
_NAMES = 8
_HOOKS: WeakKeyDictionary[nn.Module, list[Any]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Selection:
    """What may move in an encoder.

    `whole` holds full parameter names (`bert.encoder.layer.0.output.dense.weight`); `partial` a boolean mask of the
    parameter's shape for each tensor of which only the True entries move; `added` the arguments of a PEFT configuration
    (`peft_type` among them where it is not LoRA) whose `target_modules` are module names inside the encoder
    (`encoder.layer.0.output.dense`), and `first` the values that its tensors start with, where they are not drawn.
    `begun` is a patch (`holdfast.patch`, full names) with which a tuning begins, where that is not the start model.
    `parts` names for people what moves, `notes` says how it was found, `seed` draws what is random.
    """

    whole: frozenset[str] = frozenset()
    partial: dict[str, torch.Tensor] = field(default_factory=dict)
    added: dict[str, Any] | None = None
    first: dict[str, torch.Tensor] = field(default_factory=dict)
    begun: dict[str, torch.Tensor] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seed: int = 0


def union(a: Selection, b: Selection) -> Selection:
    """Return what moves in either: masks are or-ed, and a mask without a gap becomes a whole tensor.

    Raises `BadInput` when both add something, which cannot be united.
    """
    if a.added is not None and b.added is not None:
        raise BadInput("something is added to the encoder twice", key="parameters")
    masks = dict(a.partial)
    for name, mask in b.partial.items():
        masks[name] = masks[name] | mask if name in masks else mask
    whole = a.whole | b.whole | {name for name, mask in masks.items() if bool(mask.all())}
    partial = {name: masks[name] for name in sorted(masks) if name not in whole and bool(masks[name].any())}
    one = a if a.added is not None else b
    parts, notes = _distinct(a.parts + b.parts), _distinct(a.notes + b.notes)
    return Selection(whole, partial, one.added, one.first, {**a.begun, **b.begun}, parts, notes, a.seed)


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def masked_names(selection: Selection) -> frozenset[str]:
    """Return the names of the partly moving tensors: their weight decay must be 0, or it moves frozen entries."""
    return frozenset(selection.partial)


def decays(selection: Selection, name: str) -> bool:
    """Say whether weight decay may be on for a moving parameter: not if masked, nor if added and not 0 at the start."""
    if selection.added is None or not kinds.is_added(name):
        return kinds.bare(name) not in masked_names(selection)
    return not selection.first and kinds.decays(name, selection.added)


def moved(selection: Selection, model: Model) -> int:
    """Return how many weights move, the head's not counted, what is added counted too.

    Raises `KeyError` when the selection names a tensor that the model does not have.
    """
    return sum(counts(selection, model).values())


def counts(selection: Selection, model: Model) -> dict[str, int]:
    """Return {name: how many weights move there}: a parameter's full name, or that of a module with an addition."""
    parameters, prefix = model.encoder_parameters(), model.encoder_prefix
    found = {name: parameters[name].numel() for name in sorted(selection.whole)}
    for name in selection.added["target_modules"] if selection.added is not None else ():
        module = model.encoder.get_submodule(name)
        found[prefix + name] = kinds.weights(name, getattr(module, "base_layer", module), selection.added or {})
    return found | {name: int(mask.sum()) for name, mask in selection.partial.items()}


def total(model: Model) -> int:
    """Return how many weights the encoder has, what was added not counted."""
    return sum(p.numel() for name, p in model.encoder_parameters().items() if not kinds.is_added(name))


def save(selection: Selection, folder: Path) -> None:
    """Write `selection.json` (canonical) into `folder`, masks (uint8, 1 = moves), first values and patch, if any."""
    import torch
    from safetensors.torch import save as to_bytes

    described = {
        "whole": sorted(selection.whole),
        "partial": {name: int(mask.sum()) for name, mask in selection.partial.items()},
        "added": selection.added,
        "first": sorted(selection.first),
        "begun": sorted(selection.begun),
        "parts": list(selection.parts),
        "notes": list(selection.notes),
        "seed": selection.seed,
    }
    if selection.partial:
        masks = {name: mask.to(torch.uint8).contiguous() for name, mask in sorted(selection.partial.items())}
        _write(folder / _MASKS, to_bytes(masks))
    for name, held in ((_FIRST, selection.first), (_BEGUN, selection.begun)):
        if held:
            _write(folder / name, to_bytes(dict(sorted(held.items()))))
    _write(folder / _FILE, digests.canonical_json(described).encode())


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    part.replace(path)


def load(folder: Path) -> Selection:
    """Read back what `save` wrote."""
    import torch
    from safetensors.torch import load_file

    described = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    masks = load_file(folder / _MASKS) if described["partial"] else {}
    return Selection(
        whole=frozenset(described["whole"]),
        partial={name: masks[name].to(torch.bool) for name in sorted(masks)},
        added=described["added"],
        first=dict(sorted(load_file(folder / _FIRST).items())) if described["first"] else {},
        begun=dict(sorted(load_file(folder / _BEGUN).items())) if described["begun"] else {},
        parts=tuple(described["parts"]),
        notes=tuple(described["notes"]),
        seed=described["seed"],
    )


def attach(model: Model, selection: Selection) -> None:
    """Make exactly the selection and the head in place trainable, in place; all else is frozen.

    Partly selected tensors get a hook that multiplies their gradient by the mask, so it is masked
    before it is accumulated or clipped. What is added is put into the encoder once, drawn from `selection.seed`.
    Attaching again, also another selection that adds nothing, replaces the hooks.
    """
    detach(model)
    if selection.added is not None:
        from holdfast.tuners import injected

        injected.put(model, selection.added, selection.seed, selection.first)
    chosen = selection.whole | set(selection.partial) | set(model.head_parameters())
    for name, parameter in model.network.named_parameters():
        added = selection.added is not None and kinds.is_added(name)
        parameter.requires_grad_(added or kinds.bare(name) in chosen)
    parameters = {kinds.bare(name): p for name, p in model.encoder_parameters().items()}
    _HOOKS[model.network] = [parameters[n].register_hook(_masking(mask)) for n, mask in selection.partial.items()]


def begin(model: Model, selection: Selection) -> None:
    """Give what moves the values that its tuning begins with, in place, where they are not the start model's.

    To be called when all that holds on to the start model has been made.
    """
    if selection.begun:
        patch.apply(dict(model.network.named_parameters()), selection.begun)


def hand_over(model: Model, hooks: list[Any]) -> None:
    """Have other hooks see to it that only a part of a tensor moves, instead of those that `attach` registered."""
    detach(model)
    _HOOKS[model.network] = hooks


def detach(model: Model) -> None:
    """Remove the gradient hooks that `attach` registered; what requires a gradient stays as it is."""
    for handle in _HOOKS.pop(model.network, []):
        handle.remove()


def _masking(mask: torch.Tensor) -> Any:
    kept: dict[Any, torch.Tensor] = {}

    def hook(gradient: torch.Tensor) -> torch.Tensor:
        place = (gradient.device, gradient.dtype)
        if place not in kept:
            kept[place] = mask.to(device=gradient.device, dtype=gradient.dtype)
        return gradient * kept[place]

    return hook


def select(
    assessed: Assessed,
    start: Start,
    parameters: Choices,
    head: str,
    labels: tuple[str, ...],
    seed: int,
    home: Home,
    given: Given | None = None,
) -> Selected:
    """Return the plan of what moves: the choices of the `parameters` axis united on the start model.

    `given` is what the tuning will be given, for choices that must see data. The artifact holds the selection's files
    and `plan.json` (counts per part of the encoder and per tensor, and how anything was ranked). Raises `BadInput` when
    nothing is selected, or everything where a part was meant.
    """
    model = models.load_with_head(start, home, head, labels, seed)
    importance = read.load(home, assessed)
    return keep(replace(_united(model, importance, parameters, given), seed=seed), model, parameters, home)


def learning(parameters: Choices) -> list[str]:
    """Return the choices that must see data before anything can be selected: these have `learns` and `learn`."""
    modules = {name: choices.load("parameters", name) for name in parameters}
    chosen = [name for name, module in modules.items() if hasattr(module, "learns")]
    return [name for name in chosen if modules[name].learns(choices.options("parameters", name, parameters[name]))]


def keep(
    selection: Selection, model: Model, parameters: Choices, home: Home, beside: dict[str, bytes] | None = None
) -> Selected:
    """Put a selection and its plan into the store, with the files `beside` them ({name: bytes}); return its record."""
    plan = _plan(selection, model, parameters)
    with home.store.scratch() as scratch:
        folder = scratch / "selection"
        folder.mkdir()
        save(selection, folder)
        for name, data in {"plan.json": json.dumps(plan, indent=1, sort_keys=True).encode(), **(beside or {})}.items():
            _write(folder / name, data)
        artifact = home.store.put(folder, "selection")
    summary = {key: plan[key] for key in ("moved", "total", "share", "head")}
    return Selected(**summary, names=selection.parts[:_NAMES], artifact=artifact)


def _united(model: Model, importance: Importance | None, parameters: Choices, given: Given | None = None) -> Selection:
    chosen, learned = Selection(), learning(parameters)
    for name, values in parameters.items():
        module, options = choices.load("parameters", name), choices.options("parameters", name, values)
        if name in learned:
            chosen = union(chosen, module.learn(given, model, importance, options))
        else:
            chosen = union(chosen, module.select(model, importance, options))
    _check(chosen, model, parameters)
    return chosen


def _check(selection: Selection, model: Model, parameters: Choices) -> None:
    weights, everything = moved(selection, model), total(model)
    if weights == 0:
        names = ", ".join(list(model.encoder_parameters())[:_NAMES])
        raise BadInput("nothing is selected", key="parameters", expected=f"parts of the encoder, such as {names}")
    if weights == everything and selection.added is None and "full" not in parameters:
        raise BadInput(
            f"the selection covers all {everything} weights of the encoder, where a part was meant",
            key="parameters",
            expected=f"fewer than {', '.join(selection.parts)}",
            remedy="Leave one of them out, or choose `full` to train everything.",
        )


def _plan(selection: Selection, model: Model, parameters: Choices) -> dict[str, Any]:
    found, everything = counts(selection, model), total(model)
    by_part: dict[str, int] = {}
    for name, number in found.items():
        part = anatomy.part(model, name)
        by_part[part] = by_part.get(part, 0) + number
    weights = sum(found.values())
    return {
        "choices": parameters,
        "moved": weights,
        "total": everything,
        "share": weights / everything,
        "head": sum(p.numel() for p in model.head_parameters().values()),
        "parts": list(selection.parts),
        "notes": list(selection.notes),
        "by_part": by_part,
        "by_tensor": found,
    }
