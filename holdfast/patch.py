"""Patches: new values for named tensors, kept whole or as flat indices with the values that belong there.

A patch is a dictionary of tensors, ready for safetensors: `NAME` holds a whole new tensor; `NAME.indices` (int32, or
int64 for tensors of 2**31 entries and more; strictly increasing positions in the flattened tensor) and `NAME.values`
hold the entries of a partly changed one. New values and not differences: applying a patch is exact to the bit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from holdfast.errors import Corrupt

if TYPE_CHECKING:
    import torch

    Patch = dict[str, torch.Tensor]

INDICES, VALUES = ".indices", ".values"


def make(new: Mapping[str, torch.Tensor], whole: Collection[str], masks: Mapping[str, torch.Tensor]) -> Patch:
    """Return the patch that sets the tensors `whole`, and the True entries of `masks`, to their values in `new`."""
    patch = {name: new[name].detach().cpu().clone().contiguous() for name in whole}
    for name, mask in masks.items():
        indices = mask.cpu().flatten().nonzero().squeeze(1)
        patch[name + INDICES] = indices.to(index_dtype(mask.numel()))
        patch[name + VALUES] = new[name].detach().cpu().flatten()[indices].clone()
    return dict(sorted(patch.items()))


def difference(old: Mapping[str, torch.Tensor], new: Mapping[str, torch.Tensor]) -> Patch:
    """Return the smallest patch that turns `old` into `new` (same names and shapes): whole where half or more changed.

    Entries are compared as bits, so that a change of sign of a zero counts and a NaN equals itself.
    """
    masks = {name: _bits(old[name]) != _bits(new[name]) for name in sorted(old)}
    changed = {name: mask for name, mask in masks.items() if bool(mask.any())}
    whole = {name for name, mask in changed.items() if 2 * int(mask.sum()) >= mask.numel()}
    return make(new, whole, {name: mask for name, mask in changed.items() if name not in whole})


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    sizes = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.detach().cpu().contiguous().view(sizes[tensor.element_size()])


def index_dtype(entries: int) -> torch.dtype:
    """Return the dtype of the flat indices into a tensor of that many entries."""
    import torch

    return torch.int32 if entries < 2**31 else torch.int64


def contents(patch: Mapping[str, torch.Tensor]) -> tuple[list[str], dict[str, int]]:
    """Return the names kept whole and {name: entries} of the partly kept, both sorted."""
    parts = {name.removesuffix(INDICES): len(tensor) for name, tensor in patch.items() if name.endswith(INDICES)}
    of_parts = {name + suffix for name in parts for suffix in (INDICES, VALUES)}
    return sorted(set(patch) - of_parts), dict(sorted(parts.items()))


def apply(parameters: Mapping[str, torch.Tensor], patch: Mapping[str, torch.Tensor]) -> None:
    """Set `parameters` to the patch's values, in place; every tensor is checked before the first is touched.

    Raises `Corrupt` when the patch names a tensor that is not there, or its shapes or indices do not fit.
    """
    import torch

    whole, parts = contents(patch)
    for name in (*whole, *parts):
        check(name, parameters.get(name), patch)
    with torch.no_grad():
        for name in whole:
            parameters[name].copy_(patch[name])
        for name in parts:
            flat = parameters[name].detach().view(-1)
            flat[patch[name + INDICES].long().to(flat.device)] = patch[name + VALUES].to(flat)


def check(name: str, target: torch.Tensor | None, patch: Mapping[str, torch.Tensor]) -> None:
    """Raise `Corrupt` when what the patch holds under `name` does not fit `target`."""
    if target is None:
        raise Corrupt(f"the adapter changes `{name}`, which the model does not have")
    if name in patch:
        if patch[name].shape != target.shape:
            raise Corrupt(f"`{name}` is {tuple(patch[name].shape)} in the adapter, {tuple(target.shape)} in the model")
        return
    indices, values = patch[name + INDICES], patch.get(name + VALUES)
    if values is None or indices.dim() != 1 or indices.shape != values.shape or indices.dtype.is_floating_point:
        raise Corrupt(f"`{name}`: the adapter's indices and values do not fit together")
    if len(indices) and (int(indices[0]) < 0 or int(indices[-1]) >= target.numel() or _unordered(indices)):
        raise Corrupt(f"`{name}`: the adapter's indices do not lie in order within the tensor")


def _unordered(indices: torch.Tensor) -> bool:
    return bool((indices[1:] <= indices[:-1]).any())
