"""Adapter folders: what tuning made of a base model, written, verified, and applied again.

    adapter_model.safetensors, adapter_config.json   the last change of the encoder, in PEFT's format
    before/0 ... before/3                            earlier changes, oldest first, the same two files each
    heads.safetensors, heads.json                    every head: NAME/PARAMETER, and {NAME: {"labels": [...]}}
    tokenizer*.json ...                              the tokenizer
    manifest.json                                    the base and a digest per file (`holdfast.manifest`)

Changes are LoRA (PEFT's own kind) or new values of tensors (`HOLDFAST_DELTA`, see `holdfast.delta` and
`holdfast.patch`), relative to the bare encoder (`AutoModel`). A version needs no other version: it names the base and
holds all the changes in order. The same model written twice gives the same bytes.
"""

from __future__ import annotations

import copy
import importlib.metadata
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast import bases, lora, manifest, models, patch
from holdfast.errors import Corrupt, HoldfastError
from holdfast.records import BaseRef, HeadInfo, Start

if TYPE_CHECKING:
    import torch

    from holdfast.home import Home
    from holdfast.models import Model
    from holdfast.selection import Selection

ADAPTER, CONFIG = "adapter_model.safetensors", "adapter_config.json"
HEADS, LABELS, BEFORE = "heads.safetensors", "heads.json", "before"
MOST_BEFORE = 4
_PEFT_PREFIX = "base_model.model."
_OF_A_PLACE = ("is_local", "local_files_only", "name_or_path", "_commit_hash")


def write(model: Model, selection: Selection, start: Start, home: Home, folder: Path) -> None:
    """Write the adapter folder of a model tuned from `start`: what `selection` let move, and all the model's heads.

    `folder` is made where needed; give an empty one, and drop it when this fails. Raises `HoldfastError` when the
    folder would not give this very model back (to the bit, or for LoRA within 1e-6): something frozen has moved.
    """
    folder.mkdir(parents=True, exist_ok=True)
    again = models.load(start, home)
    _write_before(again, start, home, folder)
    if selection.lora is not None:
        _write_change(
            lora.tensors(model.encoder), lora.config(model.encoder, selection.lora), model, start.base, folder
        )
    else:
        _write_delta(_selected(model, selection), model, start.base, folder)
    _write_around(model, start.base, folder)
    _apply_change(again.encoder, folder)
    _compare(again, model, 0.0 if selection.lora is None else 1e-6)


def flatten(start: Start, home: Home, folder: Path) -> Model:
    """Write a registered version's adapter folder with all its changes in one delta from the base; return the model."""
    model = models.load(start, home)
    folder.mkdir(parents=True, exist_ok=True)
    _write_delta(_since_base(model, start.base), model, start.base, folder)
    _write_around(model, start.base, folder)
    return model


def apply(model: Model, folder: Path) -> None:
    """Turn a bare base model into the tuned one, in place: the changes in order, then the heads (the first in use).

    Every byte of the folder is verified before anything is read: raises `Corrupt`, naming the file, when one is
    changed, missing, extra, or could hold a pickle, and when the adapter belongs to another base.
    """
    if model.base is None:
        raise Corrupt(f"{folder}: the model does not say which base it is, so the adapter cannot be matched to it")
    manifest.verify(folder, model.base)
    for change in changes(folder):
        _apply_change(model.encoder, change)
    _install_heads(model, folder)


def info(folder: Path) -> dict[str, HeadInfo]:
    """Return the heads of an adapter folder by name; raises `Corrupt` when their file is not the manifest's."""
    described = json.loads(manifest.verify_file(folder, LABELS).read_text(encoding="utf-8"))
    return {name: HeadInfo(labels=tuple(head["labels"])) for name, head in described.items()}


def changes(folder: Path) -> list[Path]:
    """Return the folders of a version's changes, oldest first; the last is `folder` itself."""
    earlier = sorted((path for path in (folder / BEFORE).glob("*") if path.is_dir()), key=lambda path: int(path.name))
    return [*earlier, folder]


def is_lora(folder: Path) -> bool:
    """Say whether a change is LoRA and not a delta; raises `Corrupt` when it is neither."""
    kind = json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("peft_type")
    if kind not in {"LORA", "HOLDFAST_DELTA"}:
        raise Corrupt(f"{folder / CONFIG}: is an adapter of the kind {kind}, not LORA or HOLDFAST_DELTA")
    return bool(kind == "LORA")


def bare(model: Model) -> dict[str, torch.Tensor]:
    """Return the encoder's parameters by their names in the encoder loaded by itself."""
    return {name: parameter.detach() for name, parameter in model.encoder.named_parameters()}


def _selected(model: Model, selection: Selection) -> dict[str, torch.Tensor]:
    """Return the patch of what a selection moves, by bare names."""
    prefix = model.encoder_prefix
    masks = {name.removeprefix(prefix): mask for name, mask in selection.partial.items()}
    whole = [name.removeprefix(prefix) for name in selection.whole if name.startswith(prefix)]
    return patch.make(bare(model), whole, masks)


def _since_base(model: Model, base: BaseRef) -> dict[str, torch.Tensor]:
    old = dict(bases.network(bases.locate(base)).base_model.named_parameters())
    return patch.difference(old, bare(model))


def _write_before(start_model: Model, start: Start, home: Home, folder: Path) -> None:
    """Copy the start version's changes; when they are more than `MOST_BEFORE`, write them as one."""
    if start.adapter is None:
        return
    earlier = changes(home.store.open(start.adapter))
    if len(earlier) > MOST_BEFORE:
        place = folder / BEFORE / "0"
        place.mkdir(parents=True)
        _write_delta(_since_base(start_model, start.base), start_model, start.base, place)
        return
    for i, source in enumerate(earlier):
        place = folder / BEFORE / str(i)
        place.mkdir(parents=True)
        for name in (ADAPTER, CONFIG):
            shutil.copyfile(source / name, place / name)


def _write_delta(changed: Mapping[str, torch.Tensor], model: Model, base: BaseRef, folder: Path) -> None:
    whole, partial = patch.contents(changed)
    described = {
        "inference_mode": True,
        "partial": partial,
        "peft_type": "HOLDFAST_DELTA",
        "peft_version": importlib.metadata.version("peft"),
        "target_modules": None if changed else "dummy-target-modules",
        "task_type": None,
        "whole": whole,
    }
    _write_change(changed, described, model, base, folder)


def _write_change(
    changed: Mapping[str, torch.Tensor], described: dict[str, Any], model: Model, base: BaseRef, folder: Path
) -> None:
    """Write PEFT's two files: tensors, and a canonical configuration that names the base by name and digest."""
    from safetensors.torch import save_file

    encoder = type(model.encoder)
    named = {
        "auto_mapping": {
            "base_model_class": encoder.__name__,
            "base_model_sha256": base.sha256,
            "parent_library": encoder.__module__,
        },
        "base_model_name_or_path": bases.portable_name(base),
        "inference_mode": True,
        "revision": base.revision,
    }
    tensors = {_PEFT_PREFIX + name: tensor for name, tensor in changed.items()}
    save_file(tensors, folder / ADAPTER, metadata={"format": "pt"})
    _write_json({**described, **named}, folder / CONFIG)


def _write_json(value: Any, path: Path) -> None:
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def _write_around(model: Model, base: BaseRef, folder: Path) -> None:
    """Write what every adapter folder has beside its changes: heads, tokenizer, manifest."""
    from safetensors.torch import save_file

    tensors = {
        f"{name}/{parameter}": value.detach().cpu().contiguous()
        for name, head in model.heads.items()
        for parameter, value in head.parameters.items()
    }
    save_file(tensors, folder / HEADS, metadata={"format": "pt"})
    _write_json({name: {"labels": list(head.labels)} for name, head in model.heads.items()}, folder / LABELS)
    save_tokenizer(model.tokenizer, folder)
    manifest.write(folder, base)


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Save a tokenizer without the traces of its use: how it last padded and truncated, and where it was found."""
    fresh = copy.deepcopy(tokenizer)
    backend = getattr(fresh, "backend_tokenizer", None)
    if backend is not None:
        backend.no_padding()
        backend.no_truncation()
    fresh.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    described = json.loads(path.read_text(encoding="utf-8"))
    _write_json({key: value for key, value in described.items() if key not in _OF_A_PLACE}, path)


def _apply_change(encoder: Any, folder: Path) -> None:
    from safetensors.torch import load_file

    if is_lora(folder):
        lora.merge_folder(encoder, folder)
        return
    changed = {name.removeprefix(_PEFT_PREFIX): tensor for name, tensor in load_file(folder / ADAPTER).items()}
    patch.apply(dict(encoder.named_parameters()), changed)


def _install_heads(model: Model, folder: Path) -> None:
    import torch
    from safetensors.torch import load_file

    held: dict[str, dict[str, torch.nn.Parameter]] = {}
    for key, tensor in load_file(folder / HEADS).items():
        head, _, name = key.rpartition("/")
        held.setdefault(head, {})[name] = torch.nn.Parameter(tensor.clone())
    described, names = info(folder), set(model.head_parameters())
    if set(held) != set(described) or any(set(parameters) != names for parameters in held.values()):
        raise Corrupt(f"{folder / HEADS}: does not hold the parameters of the heads that {LABELS} names")
    for head in sorted(held):
        model.heads[head] = models.Head(described[head].labels, held[head])
    if held:
        model.use_head(min(held))


def _compare(again: Model, model: Model, tolerance: float) -> None:
    """Raise `HoldfastError` naming the first tensor in which two encoders differ by more than `tolerance`."""
    import torch

    wanted = lora.merged_weights(model.encoder) if tolerance else bare(model)
    for name, value in bare(again).items():
        other = wanted[name].to(value.device)
        same = torch.equal(value, other) if not tolerance else torch.allclose(value, other, rtol=0, atol=tolerance)
        if not same:
            raise HoldfastError(f"`{name}` moved during tuning although the selection froze it")
