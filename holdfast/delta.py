"""HOLDFAST_DELTA: our PEFT method, for adapters that hold new values of any of an encoder's tensors.

PEFT learns of it when this module is imported, which is all that is needed:

    import holdfast.delta
    encoder = AutoModel.from_pretrained("sentence-transformers/all-MiniLM-L6-v2")
    tuned = PeftModel.from_pretrained(encoder, "folder")   # then: disable_adapter(), merge_and_unload() ...

The adapter's file holds `base_model.model.NAME` for a whole tensor of the bare encoder (`AutoModel`; of a decoder,
`AutoModelForCausalLM`), or `base_model.model.NAME.indices` and `.values` for a part of one (see `holdfast.patch`). New
values replace the base's instead of being added to them, so a loaded model equals the tuned one to the bit, and
disabling restores the base. Where several adapters are active, or merged, at once, what each changes is added up (task
arithmetic with weights of 1).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from peft.config import PeftConfig
from peft.tuners._buffer_dict import BufferDict
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer, check_adapters_to_merge
from peft.utils.constants import DUMMY_TARGET_MODULES
from torch import nn

from holdfast import patch
from holdfast.tuners import registration

NAME = "HOLDFAST_DELTA"
PREFIX = "holdfast_delta_"
_KEY = re.compile(rf"\.{PREFIX}(whole|values|indices)\.")
_KEPT = f"_{PREFIX}original"
_SUFFIX = {"whole": "", "values": patch.VALUES, "indices": patch.INDICES}


_TYPE = registration.member(NAME)


@dataclass
class DeltaConfig(PeftConfig):
    """What an adapter changes: names of whole tensors, and {name: how many entries} of partly changed ones."""

    whole: list[str] = field(default_factory=list)
    partial: dict[str, int] = field(default_factory=dict)
    target_modules: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = _TYPE
        self.target_modules = None if self.modules() else DUMMY_TARGET_MODULES

    def modules(self) -> set[str]:
        """Return the names of the modules that own the changed tensors."""
        return {name.rpartition(".")[0] for name in (*self.whole, *self.partial)}


class DeltaLayer(nn.Module, BaseTunerLayer):
    """A module of the encoder (Linear, LayerNorm, Embedding ...) that runs with new values for its own tensors."""

    adapter_layer_names = (f"{PREFIX}whole", f"{PREFIX}values")
    other_param_names = (f"{PREFIX}indices",)

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.holdfast_delta_whole = nn.ModuleDict()
        self.holdfast_delta_values = nn.ModuleDict()
        self.holdfast_delta_indices = nn.ModuleDict()
        self.merged_adapters: list[str] = []
        self._originals: dict[str, torch.Tensor] = {}

    def update_layer(self, adapter: str, whole: list[str], partial: dict[str, int], inference_mode: bool) -> None:
        """Make room for an adapter that changes the own tensors `whole` and `partial`; it changes nothing yet."""
        own = {name: tensor.detach() for name, tensor in self.base_layer.named_parameters(recurse=False)}
        kept = {name: own[name].clone() for name in whole}
        values = {name: own[name].flatten()[:entries].clone() for name, entries in partial.items()}
        indices = {n: torch.arange(e, dtype=patch.index_dtype(own[n].numel())) for n, e in partial.items()}
        self.holdfast_delta_whole[adapter] = nn.ParameterDict(kept)
        self.holdfast_delta_values[adapter] = nn.ParameterDict(values)
        self.holdfast_delta_indices[adapter] = BufferDict(indices, persistent=True)
        self._move_adapter_to_device_of_base_layer(adapter)
        self.set_adapter(self.active_adapters, inference_mode=inference_mode)

    def new_values(self, adapter: str) -> dict[str, torch.Tensor]:
        """Return the module's own changed tensors as the adapter wants them, whole, differentiable in its values."""
        own = self._before()
        changed = {n: value.to(own[n].dtype) for n, value in self.holdfast_delta_whole[adapter].items()}
        for name, values in self.holdfast_delta_values[adapter].items():
            indices = self.holdfast_delta_indices[adapter][name].long()
            flat = own[name].flatten().index_put((indices,), values.to(own[name].dtype))
            changed[name] = flat.view_as(own[name])
        return changed

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the module with the active adapter's values; as it was when adapters are disabled."""
        if self.disable_adapters and self.merged:
            self.unmerge()
        active = [name for name in self.active_adapters if name in self.holdfast_delta_whole]
        if self.disable_adapters or self.merged or not active:
            return self.base_layer(*args, **kwargs)
        return torch.func.functional_call(self.base_layer, self._together(active), args, kwargs)

    def _together(self, adapters: list[str]) -> dict[str, torch.Tensor]:
        """Return the module's own changed tensors as one adapter wants them, or with the changes of several added."""
        every = [self.new_values(adapter) for adapter in adapters]
        if len(every) == 1:
            return every[0]
        own = self._before()
        names = dict.fromkeys(name for values in every for name in values)
        changes = {name: [values[name] - own[name] for values in every if name in values] for name in names}
        return {name: own[name] + torch.stack(found).sum(0) for name, found in changes.items()}

    def _before(self) -> dict[str, torch.Tensor]:
        """Return the module's own tensors as they were before any merge, by another module that shares them too."""
        own = self.base_layer.named_parameters(recurse=False)
        return {name: tensor.__dict__.get(_KEPT, tensor.detach()) for name, tensor in own}

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Write the adapters' values into the module; `unmerge` puts back the very values that were there."""
        names = [n for n in check_adapters_to_merge(self, adapter_names) if n in self.holdfast_delta_whole]
        if not names:
            return
        names = [*self.merged_adapters, *names]
        if self.merged_adapters:
            self.unmerge()
        changed, own = self._together(names), dict(self.base_layer.named_parameters(recurse=False))
        self._originals = {n: _original(own[n]) for n in changed}
        _write(own, changed)
        self.merged_adapters.extend(names)

    def unmerge(self) -> None:
        """Put back the values from before `merge`."""
        own = dict(self.base_layer.named_parameters(recurse=False))
        _write(own, self._originals)
        for name in self._originals:
            own[name].__dict__.pop(_KEPT, None)
        self._originals = {}
        self.merged_adapters.clear()


def _original(parameter: torch.Tensor) -> torch.Tensor:
    """Return the value from before any merge; the first module that merges a shared parameter keeps it for others."""
    if _KEPT not in parameter.__dict__:
        setattr(parameter, _KEPT, parameter.detach().clone())
    kept: torch.Tensor = getattr(parameter, _KEPT)
    return kept


def _write(own: Mapping[str, torch.Tensor], values: Mapping[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for name, value in values.items():
            own[name].copy_(value)


class DeltaModel(BaseTuner):
    """The tuner: puts a `DeltaLayer` around every module whose tensors change. See PEFT's `BaseTuner`."""

    prefix = PREFIX
    tuner_layer_cls = DeltaLayer
    target_module_mapping: dict[str, list[str]] = {}  # noqa: RUF012 (an attribute that PEFT reads)

    def _prepare_adapter_config(self, peft_config: DeltaConfig, model_config: dict[str, Any]) -> DeltaConfig:
        return peft_config

    def _prepare_model(self, peft_config: DeltaConfig, model: nn.Module) -> None:
        known = {n.replace(".base_layer.", "."): p.numel() for n, p in model.named_parameters(remove_duplicate=False)}
        for name in (*peft_config.whole, *peft_config.partial):
            if "." not in name or name not in known:
                raise ValueError(f"{NAME}: the model has no tensor `{name}` inside one of its modules")
            if peft_config.partial.get(name, 0) > known[name]:
                raise ValueError(f"{NAME}: `{name}` has {known[name]} entries, fewer than the adapter changes")

    @staticmethod
    def _check_target_module_exists(peft_config: DeltaConfig, key: str) -> bool:
        return key in peft_config.modules()

    def _create_and_replace(
        self,
        peft_config: DeltaConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        own = {name: name.rpartition(".")[2] for name in _in_module(peft_config, current_key)}
        layer = target if isinstance(target, DeltaLayer) else DeltaLayer(target)
        whole = [own[name] for name in peft_config.whole if name in own]
        partial = {own[name]: entries for name, entries in peft_config.partial.items() if name in own}
        if layer is not target:
            if next(target.children(), None) is not None:
                raise ValueError(f"{NAME}: `{current_key}` has modules inside it; only innermost ones can change")
            layer.set_adapter(self.active_adapters)
            self._replace_module(parent, target_name, layer, target)
        layer.update_layer(adapter_name, whole, partial, peft_config.inference_mode)

    @classmethod
    def _remove_adapter_name_from_key(cls, key: str, adapter_name: str) -> str:
        match = _KEY.search(key)
        if match is None:
            return key
        module, leaf = key[: match.start()], key[match.end() :].removeprefix(f"{adapter_name}.")
        return f"{module}.{leaf}{_SUFFIX[match[1]]}"

    @classmethod
    def _remap_adapter_state_dict_for_load(
        cls, model: nn.Module, config: DeltaConfig, adapter_name: str, state_dict: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        own = {key.removeprefix("base_model.model."): tensor for key, tensor in state_dict.items()}
        if patch.contents(own) != (sorted(config.whole), dict(sorted(config.partial.items()))):
            raise ValueError(f"{NAME}: the adapter's file does not hold the tensors that its configuration names")
        remap = super()._remap_adapter_state_dict_for_load
        return dict(remap(model, config, adapter_name, state_dict))


def _in_module(config: DeltaConfig, module: str) -> list[str]:
    return [name for name in (*config.whole, *config.partial) if name.rpartition(".")[0] == module]


registration.register(NAME, DeltaConfig, DeltaModel, PREFIX)
