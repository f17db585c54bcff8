"""Adapter folders: what tuning made of a base model, written, verified, and applied again.

    adapter_model.safetensors, adapter_config.json   the last change of the encoder, in PEFT's format
    before/0 ... before/3                            earlier changes, oldest first, the same two files each
    heads.safetensors, heads.json                    every head: NAME/PARAMETER, and {NAME: {"labels": [...]}}
    tokenizer*.json ...                              the tokenizer
    manifest.json                                    the base and a digest per file (`holdfast.manifest`)

Changes are something added (LoRA and others, see `holdfast.tuners`) or new values of tensors (`HOLDFAST_DELTA`, see
`holdfast.delta` and `holdfast.patch`), relative to the bare encoder (`AutoModel`) or to the whole decoder
(`AutoModelForCausalLM`), where a tensor that two modules share stands under both names. A version needs no other
version: it names the base and holds all the changes in order. The same model written twice gives the same bytes.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast import bases, manifest, models, patch
from holdfast.errors import Corrupt, HoldfastError
from holdfast.records import BaseRef, HeadInfo, Start
from holdfast.tuners import injected, kinds

if TYPE_CHECKING:
    import torch

    from holdfast.home import Home
    from holdfast.models import Model
    from holdfast.selection import Selection

ADAPTER, CONFIG = "adapter_model.safetensors", "adapter_config.json"
HEADS, LABELS, BEFORE = "heads.safetensors", "heads.json", "before"
MOST_BEFORE = 4
_PEFT_PREFIX = "base_model.model."
_ENDS = ("", patch.INDICES, patch.VALUES)
_OF_A_PLACE = ("is_local", "local_files_only", "name_or_path", "_commit_hash")


def write(model: Model, selection: Selection, start: Start, home: Home, folder: Path) -> None:
    """Write the adapter folder of a model tuned from `start`: what `selection` let move, and all the model's heads.

    `folder` is made where needed; give an empty one, and drop it when this fails. Raises `HoldfastError` when the
    folder would not give this very model back: something frozen has moved. What moved comes back to the bit, but for
    what is added to weights, within 1e-6.
    """
    folder.mkdir(parents=True, exist_ok=True)
    again = models.load(start, home)
    _write_before(again, start, home, folder)
    if selection.added is not None and keeps_addition(selection):
        found = injected.saved(model.encoder, selection.added, selection.first)
        _write_change(*found, model, start.base, folder)
    else:
        _write_delta(_selected(model, selection), model, start.base, folder)
    _write_around(model, start.base, folder)
    _apply_change(again.encoder, folder)
    _compare(again, model, selection)


def keeps_addition(selection: Selection) -> bool:
    """Say whether what a selection adds is kept as it is; else the weights that it made are."""
    kept = selection.added is not None and kinds.of(selection.added).kept
    return kept and not selection.whole and not selection.partial


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


def kind(folder: Path) -> kinds.Kind | None:
    """Return what kind of addition a change is, None for new values; raises `Corrupt` when it is neither."""
    found = json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("peft_type")
    if found != "HOLDFAST_DELTA" and found not in kinds.KINDS:
        known = ", ".join(["HOLDFAST_DELTA", *kinds.KINDS])
        raise Corrupt(f"{folder / CONFIG}: is an adapter of the kind {found}, not one of {known}")
    return kinds.KINDS.get(found)


def needs_holdfast(folder: Path) -> bool:
    """Say whether PEFT knows a change's kind only once it was taught."""
    found = kind(folder)
    return found is None or found.ours


def stays_beside(folder: Path) -> kinds.Kind | None:
    """Return the kind of an adapter folder's change that cannot be merged into weights, None where all can be."""
    return next((found for found in map(kind, changes(folder)) if found and not found.merges), None)


def bare(model: Model) -> dict[str, torch.Tensor]:
    """Return the encoder's parameters by their names in the encoder loaded by itself, shared ones once."""
    return {name: parameter.detach() for name, parameter in model.encoder.named_parameters()}


def _everywhere(changed: Mapping[str, torch.Tensor], model: Model) -> dict[str, torch.Tensor]:
    """Return a patch in which a tensor that modules share (embeddings and output layer) stands under all its names."""
    found, first = dict(changed), dict[int, str]()
    for name, parameter in model.encoder.named_parameters(remove_duplicate=False):
        known = first.setdefault(id(parameter), name)
        copies = {name + end: changed[known + end].clone() for end in _ENDS if known + end in changed}
        found |= copies if known != name else {}
    return dict(sorted(found.items()))


def _selected(model: Model, selection: Selection) -> dict[str, torch.Tensor]:
    """Return the patch of what a selection moves, by bare names."""
    prefix = model.encoder_prefix
    masks = {name.removeprefix(prefix): mask for name, mask in selection.partial.items()}
    whole = [name.removeprefix(prefix) for name in selection.whole if name.startswith(prefix)]
    if selection.added is None:
        return patch.make(bare(model), whole, masks)
    whole += [f"{module}.weight" for module in selection.added["target_modules"]]
    return patch.make(injected.merged_weights(model.encoder), whole, masks)


def _since_base(model: Model, base: BaseRef) -> dict[str, torch.Tensor]:
    start = Start(model=base.name, base=base, task="generation" if model.generates else "classification")
    return patch.difference(bare(models.load_base(start)), bare(model))


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
    changed = _everywhere(changed, model)
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
    with _unused(getattr(tokenizer, "backend_tokenizer", None)):
        tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    described = json.loads(path.read_text(encoding="utf-8"))
    _write_json({key: value for key, value in described.items() if key not in _OF_A_PLACE}, path)


@contextmanager
def _unused(backend: Any) -> Iterator[None]:
    """Have a tokenizer neither pad nor truncate while the context lasts."""
    if backend is None:
        yield
        return
    padding, truncation = backend.padding, backend.truncation
    backend.no_padding()
    backend.no_truncation()
    try:
        yield
    finally:
        if padding is not None:
            backend.enable_padding(**padding)
        if truncation is not None:
            backend.enable_truncation(**truncation)


def _apply_change(encoder: Any, folder: Path) -> None:
    from safetensors.torch import load_file

    if found := kind(folder):
        injected.read_folder(encoder, folder, found)
        return
    changed = {name.removeprefix(_PEFT_PREFIX): tensor for name, tensor in load_file(folder / ADAPTER).items()}
    patch.apply(dict(encoder.named_parameters(remove_duplicate=False)), changed)


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


def _compare(again: Model, model: Model, selection: Selection) -> None:
    """Raise `HoldfastError` naming the first tensor in which two models differ by more than they may."""
    import torch

    added = selection.added or {"target_modules": []}
    merges = selection.added is not None and kinds.of(added).merges
    rounded = tuple(f"{module}." for module in added["target_modules"] if merges and keeps_addition(selection))
    theirs = _in_memory(again, merges=False)
    for name, value in _in_memory(model, merges).items():
        tolerance = 1e-6 if name.startswith(rounded) else 0.0
        if not torch.allclose(theirs[name], value.to(theirs[name].device), rtol=tolerance, atol=tolerance):
            raise HoldfastError(f"`{name}` moved during tuning although the selection froze it")


def _in_memory(model: Model, merges: bool) -> dict[str, torch.Tensor]:
    """Return everything that an encoder holds, by bare names; what was added is merged where that is asked for."""
    if merges:
        return injected.merged_weights(model.encoder)
    return {kinds.bare(name): p.detach() for name, p in model.encoder.named_parameters()}
