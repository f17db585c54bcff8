"""What may move: the record of a selection, how it is kept on disk and put on a model, and the `select` stage.

A selection names whole tensors, parts of tensors (boolean masks) and, alternatively, low-rank matrices beside frozen
ones. Choices on the `parameters` axis make selections; several are united. The head in place is always trainable and
is counted apart.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from holdfast import anatomy, choices, digests, models
from holdfast.errors import BadInput
from holdfast.importance import read
from holdfast.records import Selected

if TYPE_CHECKING:
    import torch
    from torch import nn

    from holdfast.choices import Choices
    from holdfast.home import Home
    from holdfast.importance.read import Importance
    from holdfast.models import Model
    from holdfast.records import Assessed, Start

_FILE, _MASKS = "selection.json", "masks.safetensors"
_NAMES = 8
_HOOKS: WeakKeyDictionary[nn.Module, list[Any]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Selection:
    """What may move in an encoder.

    `whole` holds full parameter names (`bert.encoder.layer.0.output.dense.weight`); `partial` a boolean mask of the
    parameter's shape for each tensor of which only the True entries move; `lora` keyword arguments of
    `peft.LoraConfig` whose `target_modules` are module names inside the encoder (`encoder.layer.0.output.dense`).
    `parts` names for people what moves, `notes` says how it was found, `seed` draws LoRA's random matrices.
    """

    whole: frozenset[str] = frozenset()
    partial: dict[str, torch.Tensor] = field(default_factory=dict)
    lora: dict[str, Any] | None = None
    parts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seed: int = 0


def union(a: Selection, b: Selection) -> Selection:
    """Return what moves in either: masks are or-ed, and a mask without a gap becomes a whole tensor.

    Raises `BadInput` when both train low-rank matrices, which cannot be united.
    """
    if a.lora is not None and b.lora is not None:
        raise BadInput("low-rank matrices are chosen twice", key="parameters")
    masks = dict(a.partial)
    for name, mask in b.partial.items():
        masks[name] = masks[name] | mask if name in masks else mask
    whole = a.whole | b.whole | {name for name, mask in masks.items() if bool(mask.all())}
    partial = {name: masks[name] for name in sorted(masks) if name not in whole and bool(masks[name].any())}
    lora = a.lora if a.lora is not None else b.lora
    return Selection(whole, partial, lora, _distinct(a.parts + b.parts), _distinct(a.notes + b.notes), a.seed)


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def masked_names(selection: Selection) -> frozenset[str]:
    """Return the names of the partly moving tensors: their weight decay must be 0, or it moves frozen entries."""
    return frozenset(selection.partial)


def moved(selection: Selection, model: Model) -> int:
    """Return how many weights move, the head's not counted; for LoRA, how many weights are added.

    Raises `KeyError` when the selection names a tensor that the model does not have.
    """
    return sum(counts(selection, model).values())


def counts(selection: Selection, model: Model) -> dict[str, int]:
    """Return {name: how many weights move there}: a parameter's full name, or for LoRA the adapted module's."""
    if selection.lora is not None:
        rank, prefix = int(selection.lora["r"]), model.encoder_prefix
        modules = {n: model.network.get_submodule(prefix + n) for n in selection.lora["target_modules"]}
        return {prefix + n: rank * (m.in_features + m.out_features) for n, m in modules.items()}
    parameters = model.encoder_parameters()
    found = {name: parameters[name].numel() for name in sorted(selection.whole)}
    return found | {name: int(mask.sum()) for name, mask in selection.partial.items()}


def total(model: Model) -> int:
    """Return how many weights the encoder has, LoRA's not counted."""
    return sum(p.numel() for name, p in model.encoder_parameters().items() if ".lora_" not in name)


def save(selection: Selection, folder: Path) -> None:
    """Write `selection.json` (canonical) and, for masks, `masks.safetensors` (uint8, 1 = moves) into `folder`."""
    import torch
    from safetensors.torch import save as to_bytes

    described = {
        "whole": sorted(selection.whole),
        "partial": {name: int(mask.sum()) for name, mask in selection.partial.items()},
        "lora": selection.lora,
        "parts": list(selection.parts),
        "notes": list(selection.notes),
        "seed": selection.seed,
    }
    if selection.partial:
        masks = {name: mask.to(torch.uint8).contiguous() for name, mask in sorted(selection.partial.items())}
        _write(folder / _MASKS, to_bytes(masks))
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
        lora=described["lora"],
        parts=tuple(described["parts"]),
        notes=tuple(described["notes"]),
        seed=described["seed"],
    )


def attach(model: Model, selection: Selection) -> None:
    """Make exactly the selection and the head in place trainable, in place; all else is frozen.

    Partly selected tensors get a hook that multiplies their gradient by the mask, so it is masked
    before it is accumulated or clipped. LoRA's matrices are injected into the encoder once, drawn from
    `selection.seed`. Attaching again, also another selection without LoRA, replaces the hooks.
    """
    detach(model)
    if selection.lora is not None:
        _inject_lora(model, selection)
    chosen = selection.whole | set(selection.partial) | set(model.head_parameters())
    for name, parameter in model.network.named_parameters():
        parameter.requires_grad_(name in chosen or (selection.lora is not None and ".lora_" in name))
    parameters = model.encoder_parameters()
    _HOOKS[model.network] = [parameters[n].register_hook(_masking(mask)) for n, mask in selection.partial.items()]


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


def _inject_lora(model: Model, selection: Selection) -> None:
    """Wrap the targets inside the bare encoder, so that PEFT's names are those of the encoder loaded by itself."""
    import torch
    from peft import LoraConfig, inject_adapter_in_model

    if any(".lora_" in name for name, _ in model.network.named_parameters()):
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(selection.seed)
        inject_adapter_in_model(LoraConfig(**(selection.lora or {})), model.network.base_model)
    model.network.train(model.network.training)


def select(
    assessed: Assessed, start: Start, parameters: Choices, head: str, labels: tuple[str, ...], seed: int, home: Home
) -> Selected:
    """Return the plan of what moves: the choices of the `parameters` axis united on the start model.

    The artifact holds the selection's files and `plan.json` (counts per part of the encoder and per tensor, and how
    anything was ranked). Raises `BadInput` when nothing is selected, or everything where a part was meant.
    """
    model = models.load_with_head(start, home, head, labels, seed)
    return keep(replace(_united(model, read.load(home, assessed), parameters), seed=seed), model, parameters, home)


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


def _united(model: Model, importance: Importance, parameters: Choices) -> Selection:
    chosen = Selection()
    for name, values in parameters.items():
        options = choices.options("parameters", name, values)
        chosen = union(chosen, choices.load("parameters", name).select(model, importance, options))
    _check(chosen, model, parameters)
    return chosen


def _check(selection: Selection, model: Model, parameters: Choices) -> None:
    weights, everything = moved(selection, model), total(model)
    if weights == 0:
        names = ", ".join(list(model.encoder_parameters())[:_NAMES])
        raise BadInput("nothing is selected", key="parameters", expected=f"parts of the encoder, such as {names}")
    if weights == everything and not {"full", "lora"} & set(parameters):
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
